"""Ablated circuits against hooks in whole passes, and their identities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from reference.literal_ablation import literal_ablation
from small_circuit import CIRCUIT, H
from tiny_models import last_logits

from entrack.circuit.ablation import ablated_run, score_circuits, score_removed, score_without_heads
from entrack.circuits import Circuit
from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.activations import clean_run, mean_z
from entrack.model.answers import answers_of
from entrack.sites import GROUPS
from entrack.task.draws import examples
from entrack.task.prompts import encode

NOTHING = Circuit({name: () for name in GROUPS}, "tiny")
AT_LABEL = replace(CIRCUIT, structure_role="prev_query_label")


@pytest.fixture(scope="module")
def other_prompts(model):
    return encode(model.tokenizer, examples(20, split="discovery", seed=1))


def kept(model, prompts, circuit, *, default):
    """What is ablated [layer example pos head], by a loop over everything."""
    ablate = torch.full(
        (model.n_layers, len(prompts), prompts.tokens.shape[1], model.n_heads), default
    )
    for example in range(len(prompts)):
        for name, heads in circuit.groups.items():
            for head in heads:
                ablate[
                    head.layer, example, prompts.at(circuit.role(name))[example], head.head
                ] = not default
    return ablate


def rounding(model, prompts):
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


def test_circuit_alone_equals_hooks(any_model, prompts, other_prompts):
    means = mean_z(any_model, other_prompts)
    found = score_circuits(any_model, prompts, circuits=[CIRCUIT, NOTHING], means=means)
    at_label = score_circuits(any_model, prompts, circuits=[AT_LABEL], means=means)
    clean = answers_of(any_model, prompts).log_prob[:, 0]
    for row, circuit in zip(
        [*found.log_prob, *at_label.log_prob], (CIRCUIT, NOTHING, AT_LABEL), strict=True
    ):
        expected = literal_ablation(
            any_model, prompts, means, ablate=kept(any_model, prompts, circuit, default=True)
        )
        assert_close(row, expected, unlike=clean, **rounding(any_model, prompts))
    assert_apart(found.log_prob[0], found.log_prob[1], **rounding(any_model, prompts))
    assert_apart(found.log_prob[0], at_label.log_prob[0], **rounding(any_model, prompts))


def test_model_less_heads_equals_hooks(any_model, prompts, other_prompts):
    means = mean_z(any_model, other_prompts)
    found = score_removed(any_model, prompts, removed=[CIRCUIT, NOTHING], means=means)
    expected = literal_ablation(
        any_model, prompts, means, ablate=kept(any_model, prompts, CIRCUIT, default=False)
    )
    clean = answers_of(any_model, prompts).log_prob[:, 0]
    same = rounding(any_model, prompts)
    assert_close(found.log_prob[0], expected, unlike=clean, **same)
    assert_close(found.log_prob[1], clean, **same)


@pytest.mark.parametrize("group", list(GROUPS))
def test_knockouts_equal_the_smaller_circuit(any_model, prompts, other_prompts, group):
    """Recomputing only the positions and layers that can change gives what the whole smaller
    circuit gives.
    """
    means = mean_z(any_model, other_prompts)
    heads = CIRCUIT.groups[group]
    sets = [(), heads[:1], heads[1:], heads]
    quick = score_without_heads(
        any_model, prompts, circuit=CIRCUIT, removed={group: sets}, means=means
    )[group]
    whole = score_circuits(
        any_model, prompts, circuits=[CIRCUIT.without(group, list(s)) for s in sets], means=means
    )
    same = rounding(any_model, prompts)
    assert_close(quick.log_prob, whole.log_prob, **same)
    for removed in whole.log_prob[1:]:
        assert (removed != whole.log_prob[0]).any(), "each removal has an effect to compare"


def test_mean_of_one_example_is_the_clean_run(any_model, prompts):
    one = prompts.subset([3])
    means = mean_z(any_model, one)
    clean = answers_of(any_model, one)
    found = score_circuits(any_model, one, circuits=[CIRCUIT, NOTHING], means=means)
    same = rounding(any_model, one)
    assert_close(found.log_prob, np.repeat(clean.log_prob.numpy(), 2, 0), **same)
    run, plain = ablated_run(any_model, one, means), clean_run(any_model, one)
    for name in ("resid", "keys", "values"):
        assert_close(getattr(run, name), getattr(plain, name), terms=same["terms"])


def test_mean_is_over_prompts_and_positions(model, prompts):
    means = mean_z(model, prompts)
    assert means.n == len(prompts)
    z = clean_run(model, prompts).z
    terms = additions(model, prompts.tokens.shape[1]) + len(prompts)
    assert_close(means.z, z.mean(1), terms=terms, magnitude=z, unlike=z[:, 0])
    mixed = encode(
        model.tokenizer,
        examples(4, split="discovery", n_boxes=3) + examples(4, split="discovery", n_boxes=5),
    )
    with pytest.raises(AlignmentError, match="a mean over positions needs one length"):
        mean_z(model, mixed)


def test_bad_input_is_refused(model, prompts, other_prompts):
    means = mean_z(model, other_prompts)
    far = Circuit({**CIRCUIT.groups, "value_fetcher": (H(31, 3),)}, "llama")
    with pytest.raises(SiteError, match="the circuit of llama does not fit tiny/gqa: no head 31.3"):
        score_circuits(model, prompts, circuits=[far], means=means)
    with pytest.raises(ConfigError, match="one call takes circuits of one kind"):
        score_circuits(model, prompts, circuits=[CIRCUIT, AT_LABEL], means=means)
    with pytest.raises(
        ConfigError,
        match=(
            "structure readers at 'last'; allowed are prev_query_label and after_prev_query_label"
        ),
    ):
        replace(CIRCUIT, structure_role="last")
    short = encode(model.tokenizer, examples(6, split="evaluation", n_boxes=3))
    with pytest.raises(AlignmentError, match="both need one length"):
        score_circuits(model, short, circuits=[CIRCUIT], means=means)

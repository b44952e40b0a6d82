"""Circuits with heads at further tokens, against hooks in whole passes."""

from dataclasses import replace

import pytest
import torch
from closeness import additions, assert_apart, assert_close
from reference.literal_ablation import literal_ablation
from small_circuit import CIRCUIT, H
from tiny_models import last_logits

from entrack.circuit.ablation import score_circuits
from entrack.circuit.live_positions import live_positions
from entrack.circuits import Circuit
from entrack.errors import AlignmentError, ConfigError, SiteError, TaskError
from entrack.heads.wide_circuit import WideCircuit, measure_wide
from entrack.model.activations import mean_z
from entrack.model.answers import answers_of
from entrack.sites import GROUPS, all_heads
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

WIDE = WideCircuit(CIRCUIT, (H(0, 1), H(0, 2), H(2, 0)))
AT_LABEL = replace(WIDE, circuit=replace(CIRCUIT, structure_role="prev_query_label"))
READERS = CIRCUIT.groups["structure_reader"]
PLACES = ("every object", "after every label", "first")


@pytest.fixture(scope="module")
def other_prompts(model):
    return encode(model.tokenizer, examples(20, split="discovery", seed=1))


def ablated(model, prompts, wide, places):
    """What gives its mean [layer example pos head], by a loop over everything."""
    gone = torch.ones(
        (model.n_layers, len(prompts), prompts.tokens.shape[1], model.n_heads), dtype=torch.bool
    )
    circuit = wide.circuit
    for example in range(len(prompts)):
        for name, heads in circuit.groups.items():
            for head in heads:
                at = prompts.at(circuit.role(name))[example]
                gone[head.layer, example, at, head.head] = False
        words = {kind: tokens[example].tolist() for kind, tokens in prompts.segments.items()}
        tokens = {
            "every object": words["object"],
            "every label": words["label"],
            "after every label": [at + 1 for at in words["label"]],
            "first": [0],
            "correct_object": [int(prompts.at("correct_object")[example])],
        }
        for at in [at for place in places for at in tokens[place]]:
            for head in wide.more:
                gone[head.layer, example, at, head.head] = False
    return gone


def rounding(model, prompts):
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


@pytest.mark.parametrize("places", [PLACES, ("correct_object",), ("every label",), ()], ids=str)
def test_wide_circuits_equal_hooks(any_model, prompts, other_prompts, places):
    means, same = mean_z(any_model, other_prompts), rounding(any_model, prompts)
    named = {"wide": WIDE, "four": WideCircuit(CIRCUIT), "readers": WideCircuit(CIRCUIT, READERS)}
    found = measure_wide(any_model, prompts, circuits=named, places=places, means=means)
    at_label = measure_wide(
        any_model, prompts, circuits={"at label": AT_LABEL}, places=places, means=means
    )
    clean = answers_of(any_model, prompts).log_prob[:, 0]
    rows = {**found.log_prob, **at_label.log_prob}
    for name, wide in {**named, "at label": AT_LABEL}.items():
        expected = literal_ablation(
            any_model, prompts, means, ablate=ablated(any_model, prompts, wide, places)
        )
        assert_close(rows[name], expected, unlike=clean, **same)
    if not places:
        assert_close(rows["wide"], rows["four"], **same)
        return
    for index, row in enumerate(rows.values()):
        for other in list(rows.values())[:index]:
            assert_apart(row, other, **same)


def test_the_ends_are_what_other_modules_measure(model, prompts, other_prompts):
    """No heads at further tokens is the plain circuit; all heads are all heads at these tokens."""
    means, same = mean_z(model, other_prompts), rounding(model, prompts)
    heads = all_heads(model.n_layers, model.n_heads)
    full = Circuit(dict.fromkeys(GROUPS, heads), model.name)
    named = {"four": WideCircuit(CIRCUIT), "all": WideCircuit(full, heads)}
    places = ("every object", "after every label")
    found = measure_wide(model, prompts, circuits=named, places=places, means=means)
    plain = score_circuits(model, prompts, circuits=[CIRCUIT], means=means)
    roles = [*places, "query_label", "last"]
    live = live_positions(model, prompts, sets={"all": roles}, means=means)
    assert_close(found.log_prob["four"], plain.log_prob[0], **same)
    assert_close(found.log_prob["all"], live.log_prob["all"], **same)
    assert_apart(found.log_prob["four"], found.log_prob["all"], **same)
    assert (found.hits["four"] == plain.hits[0]).all()
    gain = found.gain("all", "four").value
    assert gain == pytest.approx(found.accuracy("all").value - found.accuracy("four").value)


def test_bad_input_is_refused(model, prompts, other_prompts):
    def score(circuits, prompts=prompts, places=PLACES):
        return measure_wide(model, prompts, circuits=circuits, places=places, means=means)

    means = mean_z(model, other_prompts)
    with pytest.raises(ConfigError, match="act at no role; one call takes circuits of one kind"):
        score({})
    with pytest.raises(ConfigError, match="after_prev_query_label and prev_query_label; one call"):
        score({"a": WIDE, "b": AT_LABEL})
    with pytest.raises(SiteError, match="no head 31.3"):
        score({"a": WideCircuit(CIRCUIT, (H(31, 3),))})
    with pytest.raises(AlignmentError, match="unknown role 'second'"):
        score({"a": WIDE}, places=("second",))
    with pytest.raises(TaskError, match="prompts of different numbers of boxes"):
        score({"a": WIDE}, prompts=replace(prompts, segments={}))

"""Circuits with heads behind every label, against hooks in whole passes."""

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
from entrack.errors import ConfigError, SiteError, TaskError
from entrack.heads.wide_circuit import WideCircuit, everywhere, measure_wide
from entrack.model.activations import mean_z
from entrack.model.answers import answers_of
from entrack.sites import GROUPS, all_heads
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

WIDE = WideCircuit(CIRCUIT, (H(0, 1), H(0, 2), H(2, 0)))
AT_LABEL = replace(WIDE, circuit=replace(CIRCUIT, structure_role="prev_query_label"))


@pytest.fixture(scope="module")
def other_prompts(model):
    return encode(model.tokenizer, examples(20, split="discovery", seed=1))


def ablated(model, prompts, wide):
    """What gives its mean [layer example pos head], by a loop over everything."""
    gone = torch.ones(
        (model.n_layers, len(prompts), prompts.tokens.shape[1], model.n_heads), dtype=torch.bool
    )
    circuit = wide.circuit
    behind = circuit.structure_role == "after_prev_query_label"
    for example in range(len(prompts)):
        for name, heads in circuit.groups.items():
            for head in heads:
                at = prompts.at(circuit.role(name))[example]
                gone[head.layer, example, at, head.head] = False
        for label in prompts.segments["label"][example]:
            if label != prompts.at("prev_query_label")[example]:
                for head in wide.others:
                    gone[head.layer, example, label + behind, head.head] = False
    return gone


def rounding(model, prompts):
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


def test_wide_circuits_equal_hooks(any_model, prompts, other_prompts):
    means, same = mean_z(any_model, other_prompts), rounding(any_model, prompts)
    named = {"wide": WIDE, "four": WideCircuit(CIRCUIT), "readers": everywhere(CIRCUIT)}
    named["more"] = WIDE.plus([H(1, 2)])
    found = measure_wide(any_model, prompts, circuits=named, means=means)
    at_label = measure_wide(any_model, prompts, circuits={"wide": AT_LABEL}, means=means)
    clean = answers_of(any_model, prompts).log_prob[:, 0]
    compared = [(found.log_prob[name], wide) for name, wide in named.items()]
    for row, wide in [*compared, (at_label.log_prob["wide"], AT_LABEL)]:
        expected = literal_ablation(
            any_model, prompts, means, ablate=ablated(any_model, prompts, wide)
        )
        assert_close(row, expected, unlike=clean, **same)
    rows = [*found.log_prob.values(), at_label.log_prob["wide"]]
    for index, row in enumerate(rows):
        for other in rows[:index]:
            assert_apart(row, other, **same)


def test_the_ends_are_what_other_modules_measure(model, prompts, other_prompts):
    """No heads in other segments is the plain circuit; all heads are all heads at these tokens."""
    means, same = mean_z(model, other_prompts), rounding(model, prompts)
    heads = all_heads(model.n_layers, model.n_heads)
    full = Circuit(dict.fromkeys(GROUPS, heads), model.name)
    named = {"four": WideCircuit(CIRCUIT), "all": WideCircuit(full, heads)}
    found = measure_wide(model, prompts, circuits=named, means=means)
    plain = score_circuits(model, prompts, circuits=[CIRCUIT], means=means)
    roles = ["after every label", "query_label", "last"]
    live = live_positions(model, prompts, sets={"all": roles}, means=means)
    assert_close(found.log_prob["four"], plain.log_prob[0], **same)
    assert_close(found.log_prob["all"], live.log_prob["all"], **same)
    assert_apart(found.log_prob["four"], found.log_prob["all"], **same)
    assert (found.hits["four"] == plain.hits[0]).all()
    gain = found.gain("all", "four")
    assert gain.value == pytest.approx(found.accuracy("all").value - found.accuracy("four").value)


def test_heads_are_added_where_it_is_said():
    readers = CIRCUIT.groups["structure_reader"]
    wide, head = everywhere(CIRCUIT), H(4, 3)
    both = tuple(sorted((*readers, head)))
    assert wide.own == wide.others == readers
    assert (wide.plus([head]).own, wide.plus([head]).others) == (both, both)
    assert wide.plus([head], own=False) == WideCircuit(CIRCUIT, both)
    at_own = wide.plus([head], others=False)
    assert (at_own.own, at_own.others) == (both, readers)
    assert at_own.circuit.groups["value_fetcher"] == CIRCUIT.groups["value_fetcher"]


def test_bad_input_is_refused(model, prompts, other_prompts):
    means = mean_z(model, other_prompts)
    with pytest.raises(ConfigError, match="act at no role; one call takes circuits of one kind"):
        measure_wide(model, prompts, circuits={}, means=means)
    with pytest.raises(ConfigError, match="after_prev_query_label and prev_query_label; one call"):
        measure_wide(model, prompts, circuits={"a": WIDE, "b": AT_LABEL}, means=means)
    with pytest.raises(SiteError, match="no head 31.3"):
        measure_wide(model, prompts, circuits={"a": WIDE.plus([H(31, 3)])}, means=means)
    with pytest.raises(TaskError, match="prompts of different numbers of boxes"):
        bare = replace(prompts, segments={})
        measure_wide(model, bare, circuits={"a": WIDE}, means=means)

"""Group E: effects against whole passes, and the search in a model whose heads are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from small_circuit import CIRCUIT, H
from tiny_models import last_logits

from entrack.circuit.completeness import Completeness
from entrack.circuit.faithfulness import TARGET
from entrack.circuit.live_positions import LivePositions
from entrack.circuit.search import CircuitSettings, ablation_means
from entrack.heads import fifth_group as module
from entrack.heads.fifth_group import (
    ALL_E,
    ALL_QUESTION,
    ALL_THERE,
    FOUR,
    RANDOM,
    READERS,
    WITH_E,
    FoundWide,
    FurtherEffects,
    further_effects,
    further_places,
    rungs,
    search_fifth,
)
from entrack.heads.token_support import TokenSupport
from entrack.heads.wide_circuit import WideCircuit, WideScores, measure_wide
from entrack.model.activations import mean_z
from entrack.sites import all_heads
from entrack.tables.circuit import fifth_group_gains, fifth_group_rungs, own_completeness
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SIZES = CircuitSettings(n_means=28)
PLACES = ("every object", "after every label")


@pytest.fixture(scope="module")
def planted():
    return planted_model("better", VERSIONS["better"])


@pytest.fixture(scope="module")
def no_readers():
    """The planted circuit without its structure readers."""
    return PLANTED_CIRCUIT.without("structure_reader", PLANTED_CIRCUIT.groups["structure_reader"])


def told_by_hooks(model, prompts, means, alive):
    """Log probability of the answer [example] with every head between its mean (0) and its output
    (1), in one whole pass; gradients flow to `alive` [layer example pos head].
    """

    def blend(layer):
        def hook(module, args):
            own = args[0].unflatten(-1, (-1, model.d_head))
            mixed = means.z[layer] + alive[layer][..., None] * (own - means.z[layer])
            return (mixed.flatten(-2), *args[1:])

        return hook

    layers = range(model.n_layers)
    outputs = [model.hf.get_submodule(model.site(layer, "o_proj")) for layer in layers]
    hooks = [
        output.register_forward_pre_hook(blend(layer))
        for layer, output in zip(layers, outputs, strict=True)
    ]
    try:
        logits = model.hf(prompts.tokens).logits
    finally:
        for hook in hooks:
            hook.remove()
    rows = torch.arange(len(prompts))
    return logits[rows, prompts.at("last")].log_softmax(-1)[rows, prompts.answers]


def effects_by_hooks(model, prompts, means, steps):
    """`further_effects` of CIRCUIT at PLACES in whole passes, with a dial for each head and
    prompt.
    """
    shape = (model.n_layers, len(prompts), prompts.tokens.shape[1], model.n_heads)
    alive, turned = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    rows = torch.arange(len(prompts))
    for tokens in (prompts.segments["object"], prompts.segments["label"] + 1):
        turned[:, rows[:, None], tokens] = True
    for name, heads in CIRCUIT.groups.items():
        for head in heads:
            alive[head.layer, rows, prompts.at(CIRCUIT.role(name)), head.head] = 1
    total = 0
    for step in range(steps):
        dial = torch.full((model.n_layers, len(prompts), model.n_heads), (step + 0.5) / steps)
        dial.requires_grad_()
        dials = dial[:, :, None].expand(shape)
        given = torch.where(turned & (alive == 0), dials, alive)
        told = told_by_hooks(model, prompts, means, given)
        total = total + torch.autograd.grad(told.sum(), dial)[0]
    return (total / steps).transpose(1, 2)


def rounding(model, prompts):
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


def test_effects_equal_those_of_whole_passes(any_model, prompts):
    means = mean_z(any_model, encode(any_model.tokenizer, examples(20, split="discovery", seed=1)))
    found = further_effects(
        any_model, prompts, circuit=CIRCUIT, places=PLACES, means=means, steps=2
    )
    expected = effects_by_hooks(any_model, prompts, means, 2)
    same = rounding(any_model, prompts)
    same["terms"] *= 2  # there and back: a gradient
    assert_close(found.values, expected, unlike=torch.zeros_like(expected), **same)


def test_effects_sum_to_the_whole_change(model, prompts):
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery", seed=1)))
    every = WideCircuit(CIRCUIT, all_heads(model.n_layers, model.n_heads))
    ends = {"before": WideCircuit(CIRCUIT), "after": every}
    scores = measure_wide(model, prompts, circuits=ends, places=PLACES, means=means)
    apart = []
    for steps in (2, 64):
        found = further_effects(
            model, prompts, circuit=CIRCUIT, places=PLACES, means=means, steps=steps
        )
        change = found.after - found.before
        apart.append(np.abs(found.values.sum((0, 1)) - change).max())
    same, told = rounding(model, prompts), scores.log_prob
    assert_close(found.before, told["before"], unlike=told["after"], **same)
    assert_close(found.after, told["after"], unlike=told["before"], **same)
    assert apart[1] < 0.02 * np.abs(change).max()
    assert apart[1] < apart[0], "finer steps come closer"


def test_without_further_tokens_no_head_does_anything(model, prompts):
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery", seed=1)))
    found = further_effects(model, prompts, circuit=CIRCUIT, places=(), means=means, steps=1)
    assert (found.values == 0).all()
    alone = measure_wide(
        model, prompts, circuits={"four": WideCircuit(CIRCUIT)}, places=(), means=means
    )
    for found_there in (found.before, found.after):
        assert_close(found_there, alone.log_prob["four"], **rounding(model, prompts))
    wide = search_fifth(model, prompts, circuit=CIRCUIT, places=(), means=means)
    assert wide.more == () and wide.candidates == ((),)


def test_the_strongest_come_first_and_only_those_that_help():
    values = np.zeros((2, 3, 4))
    values[0, 1], values[1, 2], values[1, 0], values[0, 0] = 6, 3, 1, -5
    effects = FurtherEffects(values, np.zeros(4), np.full(4, 5.0))
    assert effects.top(0) == ()
    assert effects.top(0.6) == (H(0, 1),)
    assert effects.top(0.61) == effects.top(0.9) == (H(0, 1), H(1, 2))
    assert effects.top(1.0) == (H(0, 1), H(1, 2), H(1, 0))
    assert FurtherEffects(-np.abs(values), np.zeros(4), np.zeros(4)).top(0.5) == ()


def test_it_finds_the_readers_that_a_circuit_lacks(planted, no_readers):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means, places = ablation_means(planted, SIZES), ("after every label",)
    found = search_fifth(planted, prompts, circuit=no_readers, places=places, means=means)
    readers = set(PLANTED_CIRCUIT.groups["structure_reader"])
    assert set(found.effects.top(0.9)[:2]) == readers and readers <= set(found.more)
    right, best = found.hits.mean(1), max(found.hits.mean(1).max(), found.ceiling.mean())
    assert right[0] < 0.5 < 0.9 < right[found.chosen] and right[found.chosen] >= TARGET * best
    assert (right[: found.chosen] < TARGET * best).all()
    wide = {"wide": WideCircuit(no_readers, found.more)}
    again = measure_wide(planted, prompts, circuits=wide, places=places, means=means)
    assert (again.hits["wide"] == found.hits[found.chosen]).all()


def test_nothing_is_added_where_nothing_is_missing(planted):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means, places = ablation_means(planted, SIZES), ("after every label",)
    found = search_fifth(planted, prompts, circuit=PLANTED_CIRCUIT, places=places, means=means)
    assert found.chosen == 0 and found.more == ()


def test_where_none_reaches_all_heads_the_best_is_taken(planted, no_readers, monkeypatch):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means = ablation_means(planted, SIZES)
    monkeypatch.setattr(module, "TARGET", 2.0)
    found = search_fifth(
        planted, prompts, circuit=no_readers, places=("after every label",), means=means
    )
    right = found.hits.mean(1)
    assert right[found.chosen] == right.max() > right[0]


def test_places_are_those_that_no_group_acts_at():
    order = ("query label", "all objects", "token after it", "tokens after all labels")
    support = TokenSupport(order, LivePositions({}, {}, "made up"))
    assert further_places(support, CIRCUIT) == ("every object", "after every label")
    at_label = replace(CIRCUIT, structure_role="prev_query_label")
    assert further_places(support, at_label)[1] == "after_prev_query_label"


def test_rungs_differ_only_in_what_is_alive(planted):
    effects = FurtherEffects(np.zeros((6, 4, 1)), np.zeros(1), np.zeros(1))
    more = (H(1, 1), H(2, 3), H(1, 2))
    found = FoundWide(
        PLANTED_CIRCUIT, PLACES, effects, ((), more), np.zeros((2, 1)), np.zeros(1), 1
    )
    steps, every = rungs(found, planted), all_heads(6, 4)
    assert steps[FOUR].more == () and steps[WITH_E].more == steps[ALL_QUESTION].more == more
    assert steps[READERS].more == PLANTED_CIRCUIT.groups["structure_reader"]
    assert steps[ALL_E].more == steps[ALL_THERE].more == every
    for seed in range(5):
        drawn = rungs(found, planted, seed=seed)[RANDOM].more
        assert [head.layer for head in drawn] == [1, 1, 2] and len(set(drawn)) == 3
    for name, wide in steps.items():
        kept = every if name in (ALL_QUESTION, ALL_THERE) else (H(4, 0), H(4, 1))
        assert wide.circuit.groups["value_fetcher"] == kept


N = 20


def scores(**shares):
    hits = {name: np.arange(N) < shares[key] * N for key, name in NAMES.items() if key in shares}
    return WideScores(hits, {}, "made up")


NAMES = {
    "four": FOUR,
    "readers": READERS,
    "wide": WITH_E,
    "random": RANDOM,
    "all": ALL_E,
    "question": ALL_QUESTION,
    "there": ALL_THERE,
}


def test_tables_say_what_is_added_to_what():
    found = {
        "base": scores(four=0.2, readers=0.3, wide=0.6, random=0.35, all=0.7),
        "wrong": scores(four=0.0, readers=0.0, wide=0.0, random=0.0, all=0.1),
    }
    whole = {"base": np.arange(N) < 0.8 * N, "wrong": np.zeros(N, dtype=bool)}
    table = fifth_group_gains(found, whole)
    (name, *numbers), (_, *others) = table.rows
    assert name == "base"
    assert [n.value for n in numbers] == pytest.approx([0.1, 0.4, 0.25, -0.1, 0.25, 0.75])
    assert [n.value for n in others[:4]] == pytest.approx([0, 0, 0, -0.1])
    assert others[4:] == ["undefined", "undefined"]
    table = fifth_group_rungs(found, whole)
    assert [row[0] for row in table.rows] == [*list(NAMES.values())[:5], "whole version"]
    values = [[cell.value for cell in row[1:]] for row in table.rows]
    assert values[2] == pytest.approx([0.6, 0]) and values[-1] == pytest.approx([0.8, 0])


def test_completeness_of_several_circuits_has_a_row_each():
    labels = ("group A", "group B", "group C", "group D", "random 1", "random 2")
    without = np.array([[0.1], [0.2], [0.3], [0.4], [0.5], [0.5]]) * N > np.arange(N)
    model = np.array([[0.5], [0.5], [0.5], [0.5], [0.4], [0.9]]) * N > np.arange(N)
    complete = Completeness((CIRCUIT,) * 6, labels, without, model)
    (row,) = own_completeness({"code": complete}).rows
    assert row[0] == "code" and row[-1] == pytest.approx(0.25)
    assert [gap.value for gap in row[1:-1]] == pytest.approx([-0.4, -0.3, -0.2, -0.1])

"""Group E: effects against whole passes with hooks, and the search in a model whose heads are
known.
"""

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
from entrack.circuit.search import CircuitSettings, ablation_means
from entrack.heads import every_label as module
from entrack.heads.every_label import (
    ALL_BEHIND,
    E_OTHERS,
    E_OWN,
    FOUR,
    RANDOM,
    READERS,
    WITH_E,
    FoundWide,
    LabelEffects,
    label_effects,
    rungs,
    search_labels,
)
from entrack.heads.wide_circuit import WideScores, everywhere, measure_wide
from entrack.model.activations import mean_z
from entrack.sites import all_heads
from entrack.tables.circuit import behind_labels, gains_behind_labels, own_completeness
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SIZES = CircuitSettings(n_means=28)


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
    """`label_effects` of CIRCUIT in whole passes, with a dial for each head and prompt."""
    shape = (model.n_layers, len(prompts), prompts.tokens.shape[1], model.n_heads)
    alive, turned = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    rows = torch.arange(len(prompts))[:, None]
    behind = prompts.segments["label"] + 1
    turned[:, rows, behind] = True
    for head in CIRCUIT.groups["structure_reader"]:
        turned[head.layer, rows, behind, head.head] = False
        alive[head.layer, rows, behind, head.head] = 1
    for name in ("value_fetcher", "position_transmitter", "position_detector"):
        for head in CIRCUIT.groups[name]:
            alive[head.layer, rows[:, 0], prompts.at(CIRCUIT.role(name)), head.head] = 1
    total = 0
    for step in range(steps):
        dial = torch.full((model.n_layers, len(prompts), model.n_heads), (step + 0.5) / steps)
        dial.requires_grad_()
        given = torch.where(turned, dial[:, :, None].expand(shape), alive)
        told = told_by_hooks(model, prompts, means, given)
        total = total + torch.autograd.grad(told.sum(), dial)[0]
    return (total / steps).transpose(1, 2)


def test_effects_equal_those_of_whole_passes(any_model, prompts):
    means = mean_z(any_model, encode(any_model.tokenizer, examples(20, split="discovery", seed=1)))
    found = label_effects(any_model, prompts, circuit=CIRCUIT, means=means, steps=2)
    expected = effects_by_hooks(any_model, prompts, means, 2)
    terms = 2 * additions(any_model, prompts.tokens.shape[1])
    magnitude = last_logits(any_model, prompts)
    assert_close(
        found.values, expected, terms=terms, magnitude=magnitude, unlike=torch.zeros_like(expected)
    )
    for head in CIRCUIT.groups["structure_reader"]:
        assert (found.values[head.layer, head.head] == 0).all(), "alive before, so nothing is due"


def test_effects_sum_to_the_whole_change(model, prompts):
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery", seed=1)))
    every = everywhere(CIRCUIT).plus(all_heads(model.n_layers, model.n_heads))
    ends = {"before": everywhere(CIRCUIT), "after": every}
    scores = measure_wide(model, prompts, circuits=ends, means=means)
    apart = []
    for steps in (2, 64):
        found = label_effects(model, prompts, circuit=CIRCUIT, means=means, steps=steps)
        change = found.after - found.before
        apart.append(np.abs(found.values.sum((0, 1)) - change).max())
    assert np.allclose(found.before, scores.log_prob["before"], atol=1e-4)
    assert np.allclose(found.after, scores.log_prob["after"], atol=1e-4)
    assert np.abs(change).max() > 0.1 and apart[1] < 0.02 * np.abs(change).max() < np.inf
    assert apart[1] < apart[0], "finer steps come closer"


def test_the_strongest_come_first_and_only_those_that_help():
    values = np.zeros((2, 3, 4))
    values[0, 1], values[1, 2], values[1, 0], values[0, 0] = 6, 3, 1, -5
    effects = LabelEffects(values, np.zeros(4), np.full(4, 5.0))
    assert effects.top(0) == ()
    assert effects.top(0.6) == (H(0, 1),)
    assert effects.top(0.61) == effects.top(0.9) == (H(0, 1), H(1, 2))
    assert effects.top(1.0) == (H(0, 1), H(1, 2), H(1, 0))
    assert LabelEffects(-np.abs(values), np.zeros(4), np.zeros(4)).top(0.5) == ()


def test_it_finds_the_readers_that_a_circuit_lacks(planted, no_readers):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means = ablation_means(planted, SIZES)
    found = search_labels(planted, prompts, circuit=no_readers, means=means)
    readers = set(PLANTED_CIRCUIT.groups["structure_reader"])
    assert set(found.effects.top(0.9)[:2]) == readers and readers <= set(found.added)
    assert found.hits[0].mean() < 0.5 < 0.9 < found.hits[found.chosen].mean()
    assert found.hits[found.chosen].mean() >= TARGET * found.ceiling.mean()
    assert (found.hits[: found.chosen].mean(1) < TARGET * found.ceiling.mean()).all()
    again = measure_wide(planted, prompts, circuits={"wide": found.wide}, means=means)
    assert (again.hits["wide"] == found.hits[found.chosen]).all()


def test_nothing_is_added_where_nothing_is_missing(planted):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means = ablation_means(planted, SIZES)
    found = search_labels(planted, prompts, circuit=PLANTED_CIRCUIT, means=means)
    assert found.chosen == 0 and found.added == ()
    assert found.wide == everywhere(PLANTED_CIRCUIT)


def test_where_none_reaches_the_ceiling_the_smallest_near_the_best_is_taken(
    planted, no_readers, monkeypatch
):
    prompts = encode(planted.tokenizer, examples(28, split="pruning"))
    means = ablation_means(planted, SIZES)
    monkeypatch.setattr(module, "TARGET", 2.0)
    found = search_labels(planted, prompts, circuit=no_readers, means=means)
    accuracies = found.hits.mean(1)
    assert accuracies[found.chosen] > accuracies.max() - 0.2 and found.chosen > 0


def test_rungs_differ_only_in_what_stands_behind_labels(planted, no_readers):
    effects = LabelEffects(np.zeros((6, 4, 1)), np.zeros(1), np.zeros(1))
    one = H(1, 1)
    circuit = no_readers.without("value_fetcher", [])
    circuit = replace(circuit, groups={**circuit.groups, "structure_reader": (H(1, 0),)})
    added = (H(1, 1), H(2, 3), H(1, 2))
    found = FoundWide(circuit, effects, ((), added), np.zeros((2, 1)), np.zeros(1), 1)
    steps = rungs(found, planted)
    assert steps[FOUR].own == (H(1, 0),) and steps[FOUR].others == ()
    assert one in steps[E_OWN].own and one not in steps[E_OWN].others
    assert one in steps[E_OTHERS].others and one not in steps[E_OTHERS].own
    assert steps[WITH_E] == found.wide and set(found.wide.own) == {H(1, 0), *added}
    for seed in range(5):
        drawn = set(rungs(found, planted, seed=seed)[RANDOM].own) - {H(1, 0)}
        assert sorted(head.layer for head in drawn) == [1, 1, 2]
    for wide in list(steps.values())[:-1]:
        assert wide.circuit.groups["value_fetcher"] == circuit.groups["value_fetcher"]


N = 20


def scores(**shares):
    hits = {name: np.arange(N) < shares[key] * N for key, name in NAMES.items() if key in shares}
    return WideScores(hits, {}, "made up")


NAMES = {
    "four": FOUR,
    "readers": READERS,
    "wide": WITH_E,
    "random": RANDOM,
    "all": ALL_BEHIND,
}


def test_tables_say_what_is_added_to_what():
    found = {
        "base": scores(four=0.2, readers=0.3, wide=0.6, random=0.35, all=0.7),
        "wrong": scores(four=0.0, readers=0.0, wide=0.0, random=0.0, all=0.1),
    }
    whole = {"base": np.arange(N) < 0.8 * N, "wrong": np.zeros(N, dtype=bool)}
    table = gains_behind_labels(found, whole)
    (name, *numbers), (_, *others) = table.rows
    assert name == "base"
    assert [n.value for n in numbers] == pytest.approx([0.1, 0.3, 0.25, -0.1, 0.25, 0.75])
    assert [n.value for n in others[:4]] == pytest.approx([0, 0, 0, -0.1])
    assert others[4:] == ["undefined", "undefined"]
    table = behind_labels(found, whole)
    assert [row[0] for row in table.rows] == [*NAMES.values(), "whole version"]
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

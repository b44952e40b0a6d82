"""Controls that are like a group, the control that D lacks, and a gain shared out."""

import numpy as np
import pytest
from closeness import additions, assert_close
from parts_at_last import made
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.circuits import Circuit
from entrack.cross_model.cmap_suite import cmap
from entrack.cross_model.matched import (
    EFFECT,
    LAYERS,
    UPDATE,
    SharedOut,
    in_same_layers,
    matched,
    nearest,
    update_of_heads,
    with_others_at_d,
)
from entrack.cross_model.weight_swap import graft, update_norms
from entrack.errors import ConfigError
from entrack.patching.head_scores import HeadScores
from entrack.sites import Head, all_heads
from entrack.tables import improved as tables
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SCENES = scenes(2, split="evaluation")
EVERY_HEAD = all_heads(5, 4)


def effects(seed=0):
    """Made-up effects of all heads; the last layer has no path to anything but the answer."""
    values = np.random.default_rng(seed).normal(size=(4, 5, 4, 3))
    values[1:, 4] = np.nan
    return {
        name: HeadScores(values[i], "", np.zeros(3), name) for i, name in enumerate(CIRCUIT.groups)
    }


def found(**options):
    settings = {"effects": effects(), "scenes": SCENES, "n_draws": 2} | options
    return matched(fine_tuned(), tiny_model(), CIRCUIT, **settings)


def heads_of(result, label):
    (heads,) = result.patched.cells[result.patched.index(label)].heads.values()
    return heads


def test_the_largest_value_takes_the_nearest_head_first_and_none_is_taken_twice():
    values = np.array([[9.0, 5.0, 8.0, 1.0], [4.0, 0.0, 8.0, 6.0]])
    heads, pool = (Head(0, 1), Head(0, 0)), [Head(0, 2), Head(0, 3), Head(1, 0), Head(1, 3)]
    # 9 takes 8; 5 is as near to 4 as to 6, which are 1.0 and 1.3: the lower number.
    assert nearest(values, heads, pool) == (Head(0, 2), Head(1, 0))
    # 9 and 9 both want 8: the second gets 6.
    values[0, 1] = 9
    assert nearest(values, heads, pool) == (Head(0, 2), Head(1, 3))


def test_draws_have_the_layers_of_the_group_or_the_nearest_that_are_left():
    heads = (Head(1, 0), Head(1, 1), Head(3, 0))
    pool = [h for h in EVERY_HEAD if h not in heads]
    drawn = {in_same_layers(heads, pool, np.random.default_rng(seed)) for seed in range(60)}
    assert {tuple(h.layer for h in heads) for heads in drawn} == {(1, 1, 3)}
    assert {h.head for heads in drawn for h in heads if h.layer == 3} == {1, 2, 3}
    assert len({h for heads in drawn for h in heads} - set(pool)) == 0
    few = [Head(1, 3), Head(2, 0), Head(4, 1), Head(3, 2)]
    # Layer 1 has one head left: the other comes from layer 2; layer 3 keeps its own.
    assert in_same_layers(heads, few, np.random.default_rng(0)) == (few[0], few[1], few[3])


def test_the_update_of_a_head_is_the_norm_of_all_its_weights_that_differ():
    base = tiny_model("mha")
    assert np.all(update_of_heads(update_norms(base, onto=base)) == 0)
    one = graft(base, fine_tuned("mha"), heads=[Head(2, 1)])
    norms = update_of_heads(update_norms(one, onto=base))
    assert (norms > 0).sum() == 1
    both = (base.hf.state_dict(), one.hf.state_dict())
    changed = sum(float((both[1][n] - both[0][n]).square().sum()) for n in both[0])
    assert norms[2, 1] == pytest.approx(changed**0.5, rel=1e-5)


def test_controls_are_as_many_heads_outside_the_circuit_at_the_same_token():
    result = found()
    assert result.letters == ["A", "B", "C"]
    for name, letter in zip(HEADS, "ABC", strict=False):
        inside = CIRCUIT.at(CIRCUIT.role(name))
        assert heads_of(result, letter) == HEADS[name]
        labels = result.controls(letter, LAYERS) + [f"{letter}, {UPDATE}", f"{letter}, {EFFECT}"]
        assert labels[:2] == [f"{letter}, same layers 1", f"{letter}, same layers 2"]
        for label in labels:
            heads = heads_of(result, label)
            assert len(set(heads)) == len(HEADS[name]) == result.n_heads(letter)
            assert not set(heads) & inside
            (role,) = result.patched.cells[result.patched.index(label)].heads
            assert role == CIRCUIT.role(name)


def test_controls_match_by_size_of_effect_and_by_update():
    result, grid = found(), np.abs(effects()["position_transmitter"].grid())
    outside = [h for h in EVERY_HEAD if h not in CIRCUIT.at("last")]
    norms = update_of_heads(update_norms(fine_tuned(), onto=tiny_model()))
    for values, kind in ((np.nan_to_num(grid), EFFECT), (norms, UPDATE)):
        control = heads_of(result, f"B, {kind}")
        assert control == nearest(values, HEADS["position_transmitter"], outside)
        means = [
            np.mean([values[h.layer, h.head] for h in heads])
            for heads in (HEADS["position_transmitter"], control)
        ]
        assert result.levels["B", kind] == pytest.approx(tuple(means))
    assert result.levels["A", LAYERS][0] == 3.5


def test_gains_are_paired_with_the_mean_over_draws():
    result = found()
    patched = result.patched
    draws = [patched.hits[patched.index(f"A, same layers {i}")] for i in (1, 2)]
    mean = np.mean([row.mean() for row in draws])
    own, group = patched.own_hits.mean(), patched.hits[patched.index("A")].mean()
    assert result.control_gain("A", LAYERS).value == pytest.approx(mean - own)
    assert result.over("A", LAYERS).value == pytest.approx(group - mean)
    assert [d.value for d in result.over_each("A")] == [
        result.over("A", kind).value for kind in (LAYERS, UPDATE, EFFECT)
    ]
    assert result.over_each("D") is None


def test_from_a_model_into_itself_nothing_changes():
    model = tiny_model()
    same = matched(model, model, CIRCUIT, effects=effects(), scenes=SCENES, n_draws=1)
    prompts = encode(model.tokenizer, all_queries(SCENES))
    size = {"terms": additions(model, prompts.tokens.shape[1])}
    size["magnitude"] = last_logits(model, prompts)
    for row in same.patched.log_prob:
        assert_close(row, same.patched.own_log_prob, unlike=found().patched.log_prob[0], **size)


def test_groups_without_heads_or_without_others_have_no_controls():
    without = Circuit({**HEADS, "position_transmitter": ()}, "tiny")
    options = {"effects": effects(), "scenes": SCENES}
    assert matched(fine_tuned(), tiny_model(), without, **options).letters == ["A", "C"]
    nothing = Circuit(dict.fromkeys(HEADS, ()), "tiny")
    assert matched(fine_tuned(), tiny_model(), nothing, **options) is None
    most = Circuit({**HEADS, "value_fetcher": tuple(EVERY_HEAD[:17])}, "tiny")
    assert matched(fine_tuned(), tiny_model(), most, **options).letters == ["B", "C"]
    with pytest.raises(ConfigError, match="0 draws of heads; at least 1"):
        found(n_draws=0)


def test_d_gets_the_control_that_the_other_groups_have():
    donor, receiver = fine_tuned(), tiny_model()
    usual = cmap(donor, receiver, CIRCUIT, scenes=SCENES, n_far=1, n_random=1)
    more = with_others_at_d(usual, donor, receiver, CIRCUIT, scenes=SCENES)
    assert usual.others("D") is None and more.others("D") == "all others at D"
    cell = more.far.cells[more.far.index("all others at D")]
    role = CIRCUIT.role("structure_reader")
    assert set(cell.heads[role]) == set(EVERY_HEAD) - CIRCUIT.at(role)
    assert more.near is usual.near and len(more.far.scenes) == 7
    assert np.array_equal(more.far.hits[:-1], usual.far.hits)
    assert more.over_others("D").value == pytest.approx(
        more.far.accuracy("D").value - more.far.accuracy("all others at D").value
    )
    near = cmap(donor, receiver, CIRCUIT, scenes=SCENES)
    assert with_others_at_d(near, donor, receiver, CIRCUIT, scenes=SCENES) is near
    other = with_others_at_d
    with pytest.raises(ConfigError, match="from tiny/mha into tiny/mha for a CMAP from tiny/gqa"):
        other(usual, tiny_model("mha"), tiny_model("mha"), CIRCUIT, scenes=SCENES)


def test_shares_of_both_parts_add_up_to_the_whole_gain():
    # Of 100 prompts 20 are right alone; 60 with A and B, 30 with the rest, 70 with all.
    last = made(inside=60, rest=30, every=70)
    shared = SharedOut(last)
    assert shared.alone().value == pytest.approx(40 / 50)
    assert shared.on_top().value == pytest.approx(40 / 50)
    again = SharedOut(made(inside=60, rest=50, every=70))
    assert again.alone().value == pytest.approx(40 / 50)
    assert again.on_top().value == pytest.approx(20 / 50)
    assert again.share().value == pytest.approx(30 / 50)
    # One of nine heads is of A and B (see `made`), and eight are the rest.
    assert again.over_number().value == pytest.approx(0.6 - 1 / 9)
    assert again.share().low < 0.6 < again.share().high


def test_without_a_gain_nothing_is_shared_out():
    last = made(inside=60, rest=30, every=20)
    shared = SharedOut(last)
    assert np.isnan(shared.share().value) and np.isnan(shared.over_number().value)
    (row,) = tables.shared_out({"tuned": last}).rows
    assert row[:4] == ["tuned", "-", "-", "-"]


def test_a_row_has_the_shares_of_the_circuit():
    last = made(inside=60, rest=50, every=70)
    (row,) = tables.shared_out({"tuned": last}).rows
    assert [cell.value for cell in row[1:4]] == pytest.approx([0.8, 0.4, 0.6])
    assert row[4] == 1 / 9
    assert "tuned" in tables.shared_out({"tuned": last}).html


def test_a_row_has_a_group_and_one_of_its_controls():
    result = found()
    rows = tables.matched({"tuned": result}).rows
    assert len(rows) == 9, "a table of one version is not folded"
    assert [row[0] for row in rows[:4]] == [
        "tuned: A, same layers",
        "tuned: A, norm of update",
        "tuned: A, size of effect",
        "tuned: B, same layers",
    ]
    more = result.over("A", UPDATE)
    ours, theirs = result.levels["A", UPDATE]
    gains = [result.patched.gain("A"), result.control_gain("A", UPDATE)]
    told = [2, f"{ours:.3g}; {theirs:.3g}", *gains, more, f"{more.value / 2:+.4f}"]
    assert rows[1][1:] == told

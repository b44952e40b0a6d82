"""Slips on and off on a tiny model: off is what the package does by default, on is what the
released code does.
"""

import math

import numpy as np
import pytest
from closeness import assert_apart
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from tiny_models import CIRCUIT, HEADS, fine_tuned, tiny_model

from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.minimality import measure_minimality
from entrack.circuit.search import FoundCircuit
from entrack.circuits import Circuit
from entrack.errors import ConfigError
from entrack.model.activations import mean_z
from entrack.paper import circuit_slips, slips
from entrack.paper.slip import Slip, paired, shown
from entrack.patching.masks import DCMConfig, MaskPath, Masks
from entrack.patching.path_patching import PathConfig, path_patching
from entrack.sites import Head
from entrack.stats.metrics import Estimate, difference, exact
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs

pytestmark = pytest.mark.usefixtures("own_cache")

WIDE = Circuit(
    {**HEADS, "value_fetcher": (Head(1, 0), Head(2, 0), Head(3, 0), Head(3, 1), Head(4, 2))}, "tiny"
)


@pytest.fixture(scope="module")
def setting():
    model = tiny_model()
    prompts = encode(model.tokenizer, examples(14, split="pruning"))
    # Answers that the random model does give, so that accuracies are not all zero.
    means = mean_z(model, encode(model.tokenizer, [p.corrupt for p in pairs(7, split="discovery")]))
    return model, prompts, means


def test_plain_pruning_scores_are_those_of_minimality(setting, monkeypatch):
    model, prompts, means = setting
    rng = np.random.default_rng(0)
    made = {}

    def knockouts(model, prompts, *, circuit, removed, means):
        """Accuracies that depend on the removed heads alone, high enough to divide by."""
        from entrack.circuit.ablation import AblationScores

        hits = {
            group: [
                made.setdefault(frozenset(map(str, heads)), rng.random(14) < 0.7) for heads in sets
            ]
            for group, sets in removed.items()
        }
        return {
            group: AblationScores(hits=np.array(found), log_prob=np.zeros((len(found), 14)))
            for group, found in hits.items()
        }

    monkeypatch.setattr("entrack.paper.circuit_slips.score_without_heads", knockouts)
    monkeypatch.setattr("entrack.circuit.minimality.score_without_heads", knockouts)
    found = circuit_slips.pruning_scores(
        model, prompts, circuit=WIDE, group="value_fetcher", means=means
    )
    theirs = measure_minimality(model, prompts, circuit=WIDE, means=means)
    expected = [theirs.scores["value_fetcher"][str(h)] for h in found.heads]
    assert found.scores["plain"].tolist() == expected
    for way in ("rounded", "is_not"):
        assert_apart(found.scores["plain"], found.scores[way], terms=len(prompts))
    threshold, rounding, is_not = circuit_slips.pruning_slips(found)
    assert threshold.on.value >= threshold.off.value == rounding.off.value == is_not.off.value


def test_rounding_and_overlap_read_two_faithfulnesses():
    full, hits = np.arange(200) < 133, np.arange(200) < 67  # 0.665 and 0.335
    scores = Faithfulness(
        full=full,
        hits=hits[None],
        random=np.zeros((0, 200), bool),
        circuits=(CIRCUIT,),
        model="tiny",
    )
    slip = circuit_slips.rounded_faithfulness(scores)
    assert slip.off.value == pytest.approx(67 / 133) and slip.on.value == pytest.approx(
        round(0.335, 2) / round(0.665, 2)
    )
    better = Faithfulness(
        full=full, hits=full[None], random=scores.random, circuits=(CIRCUIT,), model="tiny"
    )
    overlap = circuit_slips.sample_overlap(scores, better)
    assert overlap.change.value == pytest.approx(1 - 67 / 133) and overlap.clear


def test_random_circuits_with_replacement_are_smaller(setting):
    model, prompts, means = setting
    size, accuracy = circuit_slips.random_with_replacement(
        model, prompts.subset(range(3)), circuit=WIDE, means=means, n_draws=20
    )
    assert size.off.value == 1 and 0.5 < size.on.value < 1 and size.clear
    assert accuracy.on.n == accuracy.off.n == 3


def test_stage_d_read_at_a_random_label_gives_other_effects(setting):
    model, _, _ = setting
    clean, corrupt = encode_pairs(model.tokenizer, pairs(7, split="discovery"))
    receivers = (Head(3, 0), Head(4, 1))
    scores = path_patching(
        model, clean, corrupt=corrupt, role="prev_query_label", receivers=receivers, via="v"
    )
    searched = Discovery(
        scores={"structure_reader": scores}, receivers={"structure_reader": receivers}, model="tiny"
    )
    found = FoundCircuit(discovery=searched, curve=None, minimality=None, circuit=WIDE)
    some = [prompts.subset(range(4)) for prompts in (clean, corrupt)]
    slip = slips.random_corrupt_position(model, *some, found=found, path=PathConfig())
    assert slip.off.value == pytest.approx(
        -np.mean([scores.values[h.layer, h.head, :4] for h in scores.ranked()[:3]]), rel=1e-4
    )
    assert_apart(slip.on.value, slip.off.value, terms=1000, magnitude=np.float32(1))
    other = PathConfig(score="log_odds")
    with pytest.raises(ConfigError, match="both sides of a slip have one unit. Pass the path conf"):
        slips.random_corrupt_position(model, *some, found=found, path=other)


def test_slips_of_the_desiderata_do_in_a_planted_circuit_what_they_do_by_construction(own_cache):
    """Every head's job is known there, and the model answers nearly all prompts right."""
    planted = planted_model("better", VERSIONS["better"])
    label = slips.label_without_space(planted, layer=2, n_scenes=3)
    assert (label.off.value, label.on.value) == (1, 0) and label.off.n == label.on.n == 21
    floor, score = slips.base_position_zero(planted, circuit=PLANTED_CIRCUIT, n=42)
    assert floor.name == score.name == "base_position_zero"
    assert floor.off.value == 0 and floor.on.value >= 3 / 42, "a seventh asks for the same box"
    assert score.off.value == 1
    padded = slips.padded_position(planted, circuit=PLANTED_CIRCUIT, n=21)
    assert padded.off.value >= 0.2 and padded.on.value == 0, "nothing stands behind the end"
    moved = slips.structure_reader_position(planted, circuit=PLANTED_CIRCUIT, n_scenes=3)
    assert moved.off.value <= 0.2, "the readers' message moves nearly every answer"


def test_a_dropped_o_proj_update_is_the_graft_without_it():
    base, tuned = tiny_model(), fine_tuned()
    object.__setattr__(tuned, "version", "tuned")
    slip = slips.dropped_o_proj(base, tuned, n_scenes=2)
    assert slip.title == "o_proj update of tuned dropped: accuracy" and slip.off.n == 14
    same = slips.dropped_o_proj(base, base, n_scenes=2)
    assert same.change.value == 0 and not same.clear


def test_ties_go_to_fewer_heads_or_to_more():
    noted = np.array([[False, False, False], [True, False, False], [True, True, True]])
    path = MaskPath(
        weights=np.zeros((1, 3)),
        noted=noted,
        validation=np.array([0.1, 0.5, 0.5]),
        penalty=np.array([-1, 0, 0]),
    )
    masks = Masks(
        group="value_fetcher",
        target="object",
        heads=(Head(0, 0), Head(0, 1), Head(0, 2)),
        paths=(path,),
        n_validation=50,
        config=DCMConfig(),
    )
    slip = slips.tied_masks(masks)
    assert (
        (slip.off.value, slip.on.value) == (pytest.approx(1 / 3), 1.0)
        and slip.clear
        and slip.counted
    )
    assert slip.title == "DCM of A, ties to more heads: heads selected"


def test_layers_of_random_heads_are_right_only_in_a_square_model():
    assert circuit_slips.random_head_layers(32, 32).change.value == 0
    ours = circuit_slips.random_head_layers(30, 9)
    assert (ours.off.value, ours.on.value) == (1.0, 81 / 270)  # layers 0 to 8 alone
    # More heads than layers: numbers 0 to 7 by // 2 give layers 0 to 3, and only 0 and 1 exist.
    assert circuit_slips.random_head_layers(2, 4).on.value == 4 / 8


def test_the_label_is_scored_twice_on_one_run(setting, monkeypatch):
    model, _, _ = setting
    ran = []
    patch_pairs = slips.patch_pairs
    monkeypatch.setattr(
        slips,
        "patch_pairs",
        lambda *args, **options: ran.append(1) or patch_pairs(*args, **options),
    )
    slip = slips.label_without_space(model, layer=2, n_scenes=2)
    bare = slips.encode_counterfactuals(
        model.tokenizer,
        [slips.replace(p, bare_answer=True) for p in slips.interchanges(2, split="evaluation")],
    )
    alone = patch_pairs(model, bare, patches={"label": slips.Patch("query_label", resid=2)}).score(
        "label", "label"
    )
    assert ran == [1] and slip.on == alone


def test_a_model_without_right_answers_has_no_faithfulness():
    nothing = np.zeros(20, bool)
    scores = Faithfulness(nothing, nothing[None], nothing[None], (CIRCUIT,), "tiny")
    with pytest.raises(ConfigError, match="tiny answers none of 20 prompts right"):
        circuit_slips.rounded_faithfulness(scores)


def test_exact_counts_are_shown_without_an_interval():
    assert shown(exact(8 / 13, n=13)) == "0.62"
    assert shown(Estimate(0.5, 0.25, 0.75, 9)) == "0.50 [0.25, 0.75]"


def test_a_change_of_independent_estimates_has_both_their_errors():
    low, high = Estimate(0.1, 0.0, 0.2, 9), Estimate(0.5, 0.2, 0.6, 9)
    change = Slip("x", "t", low, high).change
    assert change.value == pytest.approx(0.4)
    assert change.low == pytest.approx(0.4 - math.hypot(0.3, 0.1))
    assert change.high == pytest.approx(0.4 + math.hypot(0.1, 0.1))
    back = Slip("x", "t", high, low).change
    assert (back.low, back.high) == pytest.approx((-change.high, -change.low))
    near = Slip("x", "t", low, Estimate(0.2, 0.1, 0.3, 9))
    assert not near.clear and Slip("x", "t", low, high).clear


def test_a_paired_change_is_clear_where_intervals_overlap():
    off = np.arange(100) < 50
    on = np.arange(100) < 60
    slip = paired("x", "t", off, on)
    assert slip.change == difference(on, off) and slip.clear
    assert not Slip("x", "t", slip.off, slip.on).clear


def test_counts_that_are_the_same_do_not_change():
    assert not Slip("x", "t", exact(1), exact(1)).clear
    assert Slip("x", "t", exact(1), exact(0.5)).clear

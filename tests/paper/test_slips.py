"""Slips on and off on a tiny model: off is what the package does by default, on is what the
released code does.
"""

import math

import numpy as np
import pytest
from tiny_models import CIRCUIT, HEADS, fine_tuned, tiny_model

from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.minimality import MinimalityConfig, measure_minimality
from entrack.circuit.search import FoundCircuit
from entrack.circuits import Circuit
from entrack.model.activations import mean_z
from entrack.model.sites import Head
from entrack.paper import slips
from entrack.patching.dcm import DCMConfig, MaskPath, Masks
from entrack.patching.path_patching import path_patching
from entrack.stats.metrics import Estimate
from entrack.task.boxes import examples, pairs
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

    monkeypatch.setattr("entrack.paper.slips.score_without_heads", knockouts)
    monkeypatch.setattr("entrack.circuit.minimality.score_without_heads", knockouts)
    found = slips.pruning_scores(model, prompts, circuit=WIDE, group="value_fetcher", means=means)
    for way, published in (("plain", False), ("both", True)):
        theirs = measure_minimality(
            model,
            prompts,
            circuit=WIDE,
            means=means,
            config=MinimalityConfig(as_published=published),
        )
        expected = [theirs.scores["value_fetcher"][str(h)] for h in found.heads]
        np.testing.assert_allclose(
            found.scores[way], expected, atol=1e-12 if not published else 0.021
        )
    assert not np.allclose(found.scores["plain"], found.scores["is_not"])
    threshold, rounding, is_not = slips.pruning_slips(found)
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
    slip = slips.rounded_faithfulness(scores)
    assert slip.off.value == pytest.approx(67 / 133) and slip.on.value == pytest.approx(
        round(0.335, 2) / round(0.665, 2)
    )
    better = Faithfulness(
        full=full, hits=full[None], random=scores.random, circuits=(CIRCUIT,), model="tiny"
    )
    overlap = slips.sample_overlap(scores, better)
    assert overlap.change == pytest.approx(1 - 67 / 133) and overlap.clear


def test_random_circuits_with_replacement_are_smaller(setting):
    model, prompts, means = setting
    size, accuracy = slips.random_with_replacement(
        model, prompts.subset(range(3)), circuit=WIDE, means=means, n_draws=20
    )
    assert size.off.value == 1 and 0.5 < size.on.value < 1 and size.clear
    assert 0 <= accuracy.on.value <= 1


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
    slip = slips.random_corrupt_position(
        model, *(prompts.subset(range(4)) for prompts in (clean, corrupt)), found=found, n_top=3
    )
    assert slip.off.value == pytest.approx(
        -np.mean([scores.values[h.layer, h.head, :4] for h in scores.ranked()[:3]]), abs=1e-6
    )
    assert slip.on.value != pytest.approx(slip.off.value, abs=1e-6)


def test_desiderata_slips_run_on_pairs_of_one_draw(setting):
    model, _, _ = setting
    label = slips.label_without_space(model, layer=2, n_scenes=2)
    assert label.on.n == label.off.n == 14
    floor, score = slips.base_position_zero(model, circuit=CIRCUIT, n=14)
    assert floor.name == score.name == "base_position_zero" and 0 <= floor.on.value <= 1
    for slip in (
        slips.padded_position(model, circuit=CIRCUIT, n=7),
        slips.structure_reader_position(model, circuit=CIRCUIT, n_scenes=1),
    ):
        assert 0 <= slip.off.value <= 1 and 0 <= slip.on.value <= 1


def test_a_dropped_o_proj_update_is_the_graft_without_it():
    base, tuned = tiny_model(), fine_tuned()
    object.__setattr__(tuned, "version", "tuned")
    slip = slips.dropped_o_proj(base, tuned, n_scenes=2)
    assert slip.title == "o_proj update of tuned dropped: accuracy" and slip.off.n == 14
    same = slips.dropped_o_proj(base, base, n_scenes=2)
    assert same.change == 0 and not same.clear


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
    assert slips.random_head_layers(32, 32).change == 0
    ours = slips.random_head_layers(30, 9)
    assert (ours.off.value, ours.on.value) == (1.0, 81 / 270)  # layers 0 to 8 alone
    # More heads than layers: numbers 0 to 7 by // 2 give layers 0 to 3, and only 0 and 1 exist.
    assert slips.random_head_layers(2, 4).on.value == 4 / 8


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


def made(title, off, on):
    return slips.Slip(
        "x", title, Estimate(off, off - 0.1, off + 0.1, 9), Estimate(on, on - 0.1, on + 0.1, 9)
    )


@pytest.mark.parametrize(
    ("effects", "counts", "expected"),
    [
        ([], [], "Nothing was measured."),
        ([], [0.2], "Of 1 exact count, 1 changes."),
        ([0.0], [], "Of 1 estimate, none is beyond chance."),
        (
            [0.5, 0.1],
            [0.0],
            (
                "Of 2 estimates, 1 is beyond chance (“effect 0”, +0.50); of 1 exact count, none"
                " changes."
            ),
        ),
        (
            [0.0, -0.4, 0.3],
            [0.2, 0.0],
            (
                "Of 3 estimates, 2 are beyond chance (the largest: “effect 1”, -0.40); of 2 exact"
                " counts, 1 changes."
            ),
        ),
        (
            [0.0],
            [0.2, -0.1, 0.0],
            "Of 1 estimate, none is beyond chance; of 3 exact counts, 2 change.",
        ),
    ],
)
def test_the_summary_is_a_sentence_for_none_one_and_more(effects, counts, expected):
    every = [made(f"effect {i}", 0.4, 0.4 + change) for i, change in enumerate(effects)]
    every += [
        slips.Slip("x", "count", slips.exact(0.5, 9), slips.exact(0.5 + change, 9))
        for change in counts
    ]
    assert slips.summary(every) == expected


def test_exact_counts_are_shown_without_an_interval():
    assert slips.shown(slips.exact(8 / 13, 13)) == "0.62"
    assert slips.shown(Estimate(0.5, 0.25, 0.75, 9)) == "0.50 [0.25, 0.75]"


def test_a_slip_is_told_with_its_chance():
    assert (
        made("x", 0.5, 0.9).told
        == "0.50 [0.40, 0.60] without the slip and 0.90 [0.80, 1.00] with it, beyond chance"
    )
    assert made("x", 0.5, 0.6).told.endswith(" with it, not beyond chance")
    assert (
        slips.Slip("x", "t", slips.exact(1, 9), slips.exact(0.5, 9)).told
        == "1.00 without the slip and 0.50 with it"
    )


def test_intervals_apart_are_clear_and_others_are_not():
    low, high = Estimate(0.1, 0.0, 0.2, 9), Estimate(0.5, 0.4, 0.6, 9)
    assert slips.Slip("x", "t", low, high).clear and slips.Slip("x", "t", high, low).clear
    assert not slips.Slip("x", "t", low, Estimate(0.3, 0.15, 0.5, 9)).clear
    assert math.isclose(slips.Slip("x", "t", low, high).change, 0.4)

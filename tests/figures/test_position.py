"""Figures and tables of what a patched model answers, and of what counts as position."""

import numpy as np
import pytest
from colours import DARK_PAGE, contrast
from matplotlib import pyplot as plt

from entrack.circuit.wordings import Wording
from entrack.figures.position import (
    CANDIDATES,
    answer_shares,
    answers_by_group,
    variation_scores,
)
from entrack.heads.worded_masks import WordedMasks
from entrack.patching.masks import DCMConfig, MaskPath, Masks
from entrack.patching.patches import Patch, Patched
from entrack.sites import Head
from entrack.tables import position as tables
from entrack.task.counterfactual_pairs import interchanges

B = "position_transmitter"


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def wording(name, share, *, candidates=("position", "label"), n=10):
    """Answers of which `share` are the expected one, and the rest the second candidate's."""
    tokens = {candidate: np.full(n, place) for place, candidate in enumerate(candidates)}
    answers = np.where(np.arange(n) < share * n, 0, 1)[None]
    patched = Patched(
        {B: Patch("last")}, tokens, answers, np.full(n, 9), np.arange(n), "smollm2/base"
    )
    return Wording(name, tuple(interchanges(1, split="evaluation", name=name)), patched)


def test_every_candidate_has_a_colour_and_stacks_to_one():
    picture = answer_shares({"A": {"object": 0.25, "position": 0.5, "other": 0.25}})
    widths = [bar.get_width() for bar in picture.figure.axes[0].patches]
    assert widths == [0.25, 0.5, 0.25]
    assert "A: object 0.25, position 0.50, other 0.25" in picture.alt
    expected = {"object", "position", "label", "unchanged", "other", "ordinal"}
    expected |= {"token_from_start", "token_from_end", "next_position", "unshifted"}
    assert expected <= set(CANDIDATES)


@pytest.mark.parametrize("colour", sorted(set(CANDIDATES.values())))
def test_candidates_stand_out_from_both_pages(colour):
    assert min(contrast(colour, page) for page in ("#ffffff", DARK_PAGE)) > 3


def test_only_parts_with_room_have_their_number():
    shares = {"object": 0.5, "position": 0.1, "label": 0.08, "other": 0.32}
    axes = answer_shares({"B, a long name that takes two lines": shares}).figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.50", "0.10", "0.32"]
    assert axes.get_yticklabels()[0].get_text() == "B, a long name that takes\ntwo lines"


def test_each_source_has_a_bar_per_group_and_one_unpatched():
    picture = answers_by_group({"plain": wording("position", 0.4)})
    rows = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert rows == ["B, plain", "unpatched, plain"]
    assert "B, plain: position 0.40, label 0.60" in picture.alt


def test_variations_are_in_the_order_of_their_scores():
    both = [wording("position", 0.4), wording("no_comma", 0.1)]
    picture = variation_scores(both, B, paper={"position": 0.2}, floor=0.1)
    ticks = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert ticks == ["No commas", "Plain (not reworded)"]
    assert "Plain (not reworded) +0.40, No commas +0.10" in picture.alt


def test_rows_tell_source_score_and_lead():
    plain = wording("position", 0.4)
    (title, cut, own, expected), *_ = tables.sources([plain]).rows
    pair = plain.pairs[0]
    assert title == "Plain (not reworded)" and (own, expected) == (pair.base.answer, pair.answer)
    assert cut.startswith(pair.source.text[:10]) and cut.endswith("contains the")
    (row,) = tables.scores([plain], paper={"position": 0.23}).rows
    assert row[:2] == ["Plain (not reworded)", 7] and row[2].value == 0.4
    assert row[3:] == [0.0, "+0.23"]
    filler = wording("filler_before", 0.4, candidates=("ordinal", "token_from_start"))
    (lead,) = tables.leads([filler]).rows
    assert lead[1] == "tokens from the start" and lead[2].value == pytest.approx(-0.2)
    told = tables.predictions(filler.pairs[0]).rows
    assert [row[0] for row in told][:4] == ["base", "source", "base's own answer", "order of boxes"]
    assert "unchanged" not in [row[0] for row in told]


def test_masks_stand_beside_all_heads_and_the_paper():
    """Of twelve pairs in four scenes, six answer as expected with the mask and nine with all."""
    group, heads = "position_transmitter", (Head(1, 0), Head(1, 1))
    answers = np.full((2, 12), 8)
    answers[0, :9] = answers[1, :6] = 0
    patches = {group: Patch("last", heads), f"{group} mask": Patch("last", heads[:1])}
    tokens = {"position": np.zeros(12, int)}
    scenes = np.arange(12) // 3
    made = Patched(patches, tokens, answers, np.full(12, 9), scenes, "m")
    row = np.array([[True, False]])
    path = MaskPath(1.0 - row, row, np.array([1.0]), np.array([0]))
    learned = {group: Masks(group, "position", heads, (path,), 7, DCMConfig(seeds=(0,)))}
    found = WordedMasks(learned, Wording("position", (), made))
    table = tables.masks([found], group, paper={"position": "+0.23 (5 of 7)"})
    ((title, taken, above, less, theirs),) = table.rows
    assert (title, taken, theirs) == ("Plain (not reworded)", "1 of 2", "+0.23 (5 of 7)")
    assert (above.value, less.value) == (0.5, pytest.approx(-0.25))
    without = tables.masks([found], group, paper={})
    assert [len(row) for row in (without.header, *without.rows)] == [4, 4]

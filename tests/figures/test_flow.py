"""Figures of information flow and of what heads carry: what is drawn is what was measured, and the
words say it too.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from colours import DARK_PAGE, contrast
from matplotlib import pyplot as plt

from entrack.display.svg import figure_svg
from entrack.figures.carry import (
    CANDIDATES,
    DESIDERATA,
    answer_shares,
    by_layer,
    figure_three,
    mask_paths,
    variation_scores,
)
from entrack.figures.circuit import completeness_scatter
from entrack.figures.flow import attention_shares, edge_words, knockout_curves
from entrack.model.sites import GROUPS, Head
from entrack.patching.attention_knockout import EDGES, Knockouts
from entrack.patching.attention_mass import KINDS, AttentionMass
from entrack.patching.dcm import DCMConfig, MaskPath, Masks
from entrack.patching.group_patching import Patch, Patched
from entrack.stats.metrics import Estimate


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def hits(share, n=20):
    return np.arange(n) < share * n


def lines(figure, panel):
    return [
        [round(float(y), 3) for y in line.get_ydata()] for line in figure.axes[panel].get_lines()
    ]


def test_knockout_curves_are_shares_of_the_unblocked_accuracy():
    found = Knockouts(
        {edge: np.stack([hits(0.2), hits(0.8)]) for edge in EDGES},
        hits(0.8),
        (0, 4),
        4,
        np.arange(20),
        "m",
    )
    figure, alt = knockout_curves(
        found,
        version="base",
        paper={"last_to_correct_object": [0.33, 0.66]},
        paper_accuracy=0.66,
        paper_title="Llama",
    )
    assert lines(figure, 0) == [[0.25, 1.0], [0.5, 1.0]]
    assert lines(figure, 1) == [[0.25, 1.0]]
    assert (
        "last token reads right object: 0.25 blocked everywhere, the paper 0.50" in alt
        and "not in the paper" in alt
    )
    assert edge_words(EDGES[2]) == "query label reads earlier label"
    assert figure_svg(figure, alt).startswith("<svg")


def test_attention_bars_and_the_mean_of_all_heads():
    mass = np.zeros((2, 2, len(KINDS), 4))
    mass[:, :, KINDS.index("rest")] = 1
    mass[1, 1, :, :] = 0
    mass[1, 1, KINDS.index("correct_object")] = 1
    found = AttentionMass("last", mass, np.arange(4), "m")
    figure, alt = attention_shares(
        {"value_fetcher": found.of([Head(1, 1)])}, average={"value_fetcher": found.everywhere}
    )
    assert figure.axes[0].patches[0].get_width() == 1
    assert figure.axes[0].get_lines()[-1].get_xdata()[KINDS.index("correct_object")] == 0.25
    assert "Value fetchers look at right object (1.00)" in alt


def patched(patches, answers):
    n = len(answers[0])
    return Patched(
        {f"p{i}": p for i, p in enumerate(patches)},
        {"object": np.full(n, 1), "position": np.full(n, 2), "label": np.full(n, 3)},
        np.array(answers),
        np.zeros(n, int),
        np.arange(n),
        "m",
    )


def test_answers_by_layer():
    found = patched([Patch("last", resid=4), Patch("last", resid=0)], [[1, 1, 2, 0], [2, 2, 2, 3]])
    figure, alt = by_layer({"last": found}, n_layers=4)
    assert lines(figure, 0)[:3] == [[0, 0.5], [0.75, 0.25], [0.25, 0]]
    assert "object at most 0.50 (layer 4), position at most 0.75 (layer 0)" in alt


def test_every_candidate_has_a_colour_and_stacks_to_one():
    shares = {"object": 0.25, "position": 0.5, "other": 0.25}
    figure, alt = answer_shares({"A": shares})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [0.25, 0.5, 0.25] and "A: object 0.25, position 0.50, other 0.25" in alt
    assert {
        "object",
        "position",
        "label",
        "unchanged",
        "other",
        "ordinal",
        "token_from_start",
        "token_from_end",
        "next_position",
        "unshifted",
    } <= set(CANDIDATES)


def test_mask_paths_ring_the_chosen_mask_of_every_seed():
    path = MaskPath(
        np.ones((1, 2)),
        np.array([[0, 0], [1, 0], [1, 1]], dtype=bool),
        np.array([0.0, 0.5, 0.4]),
        np.array([-1, 0, 0]),
    )
    masks = Masks(
        "value_fetcher",
        "object",
        (Head(1, 0), Head(1, 1)),
        (path, path),
        100,
        DCMConfig(seeds=(0, 1)),
    )
    figure, alt = mask_paths({("value_fetcher", "object"): masks})
    rings = [line for line in figure.axes[0].get_lines() if line.get_markersize() == 10]
    assert [(float(r.get_xdata()[0]), float(r.get_ydata()[0])) for r in rings] == [
        (1, 0.5),
        (1, 0.5),
    ]
    assert "A object: 1 of 2 heads, best 0.50" in alt


def test_figure_three_marks_what_is_void():
    ours = {"base": {(g, t): Estimate(0.3, 0.2, 0.4, 50) for g in GROUPS for t in DESIDERATA}}
    paper = {"llama": {(g, t): 0.4 for g in GROUPS for t in ("object", "position")}}
    figure, alt = figure_three(ours, paper=paper, void="void")
    assert len(figure.axes) == 8
    assert [text.get_text() for text in figure.axes[4].texts] == ["void"] and not figure.axes[
        0
    ].texts
    assert "A object +0.30" in alt and "label columns are void" in alt
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "Llama"]


def test_a_group_without_selected_heads_gets_an_open_mark_and_no_number():
    ours = {
        v: {
            (g, t): Estimate(0.3, 0.2, 0.4, 50) if t == "object" else None
            for g in GROUPS
            for t in DESIDERATA
        }
        for v in ("base", "code")
    }
    figure, alt = figure_three(ours, paper={"float": {}}, void="void")
    drawn = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in drawn} == {
        (1, 0),
        (2, 0),
    }
    assert len(figure.axes[0].containers) == 2, "the intervals of object only"
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [
        "base",
        "FLoat",
        "code",
        "",
        "no head selected",
        "",
    ]
    assert "position no head selected" in alt


@pytest.mark.parametrize("colour", sorted(set(CANDIDATES.values())))
def test_candidates_stand_out_from_both_pages(colour):
    assert min(contrast(colour, page) for page in ("#ffffff", DARK_PAGE)) > 3


def test_only_parts_with_room_have_their_number():
    figure, _ = answer_shares(
        {
            "B, a long name that takes two lines": {
                "object": 0.5,
                "position": 0.1,
                "label": 0.08,
                "other": 0.32,
            }
        }
    )
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50", "0.10", "0.32"]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "B, a long name that takes\ntwo lines"


def test_letters_of_groups_keep_off_the_points():
    points = [(0.143, 0.143), (0.184, 0.163), (0.2, 0.12)]
    hits = (
        [np.arange(1000) < 1000 * x for x, _ in points],
        [np.arange(1000) < 1000 * y for _, y in points],
    )
    figure = completeness_scatter(
        SimpleNamespace(
            labels=("group C", "random 1", "group B"), model_hits=hits[0], circuit_hits=hits[1]
        )
    )
    assert [text.get_text() for text in figure.axes[0].texts] == ["C", "B"]
    for text in figure.axes[0].texts:
        assert min(np.hypot(*np.subtract(text.get_position(), point)) for point in points) > 0.03


def test_variations_are_in_the_order_of_their_scores():
    ours = {"position": Estimate(0.4, 0.3, 0.5, 50), "no_comma": Estimate(0.1, 0.0, 0.2, 50)}
    figure, alt = variation_scores(
        ours,
        paper={"position": 0.2},
        floor=0.1,
        titles={"position": "Plain", "no_comma": "No commas"},
        version="base",
    )
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["No commas", "Plain"]
    assert "Plain +0.40, No commas +0.10" in alt

"""Figures and tables of one circuit in many versions show what was measured, in words too."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_courses import searched, truth
from matplotlib import pyplot as plt
from small_circuit import CIRCUIT

from entrack.circuit.completeness import Completeness
from entrack.circuit.faithfulness import Faithfulness, grow
from entrack.circuit.minimality import Minimality
from entrack.circuit.overlap import Likeness, overlaps
from entrack.display.svg import figure_svg
from entrack.figures import same_circuit as figures
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import Estimate
from entrack.tables import same_circuit as tables

N = 20


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def hits(share):
    return np.arange(N) < share * N


def scored(whole, *circuits, random=0.1):
    kept = tuple(CIRCUIT if i == 0 else CIRCUIT.only("value_fetcher") for i in range(len(circuits)))
    rows = np.stack([hits(share) for share in circuits])
    return Faithfulness(hits(whole), rows, hits(random)[None], kept, "tiny")


SCORES = {"one": scored(0.8, 0.4, 0.2), "two": scored(1.0, 0.6, 0.9), "none": scored(0.0, 0.0, 0.0)}


def test_a_row_of_table_one():
    one, _, none = tables.faithfulness(SCORES).rows
    assert one[0] == "one" and [e.value for e in one[1:]] == [0.8, 0.4, 0.1, 0.5]
    assert none[4] == "undefined", "no share of an accuracy of 0"


def test_gaps_are_paired_with_the_whole_and_with_the_reference():
    one, two, _ = tables.gaps(SCORES, base="one").rows
    assert one[1].value == pytest.approx(-0.4) and one[2] == "0.0078" and one[3] == "-"
    assert two[3].value == pytest.approx(0.2) and two[3].better == 4
    assert one[4].value == pytest.approx(-0.4), "less the whole reference, also in itself"
    assert two[4].value == pytest.approx(0.6 - 0.8)


def test_the_grid_has_a_row_per_circuit_and_one_for_the_whole():
    picture = figures.cross_grid(SCORES, owners=["one", "two"])
    axes = picture.figure.axes[0]
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == [f"one ({CIRCUIT.size})", "two (2)", "whole version"]
    drawn = [text.get_text() for text in axes.texts]
    assert drawn == ["0.40", "0.60", "0.00", "0.20", "0.90", "0.00", "0.80", "1.00", "0.00"]
    assert "one's circuit, 0.00 to 0.60; two's circuit, 0.00 to 0.90" in picture.alt
    assert picture.alt.endswith("The whole versions reach 0.00 to 1.00.")
    assert figure_svg(picture.figure, picture.alt).startswith("<svg")


def test_names_of_heads_lie_inside_their_panel_and_beside_each_other():
    """Of the four sides of a point, some are outside and some are taken."""
    first, second = (
        replace(one, scores=one.scores | {"structure_reader": one.scores["value_fetcher"]})
        for one in (searched(truth(), 1), searched(truth(), 2))
    )
    figure = figures.effects_in_two(first, second, names=("one", "two")).figure
    figure.draw_without_rendering()
    for axes in figure.axes:
        panel = axes.get_window_extent()
        boxes = [text.get_window_extent() for text in axes.texts]
        assert 2 <= len(boxes) <= 4
        assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_long_name_under_a_column_takes_two_lines():
    names = ["code", "code, look-ups", "smollm2-unprimed-2"]
    one = next(iter(SCORES.values()))
    axes = figures.cross_grid(dict.fromkeys(names, one), owners=["one", "two"]).figure.axes[0]
    drawn = [text.get_text() for text in axes.get_xticklabels()]
    assert drawn == ["code", "code,\nlook-ups", "smollm2-\nunprimed-2"]


def test_only_searched_versions_have_a_row_of_their_own_circuit():
    (row,) = tables.own_circuits(SCORES, owners=["one", "two"]).rows
    assert row[0] == "two" and [e.value for e in row[1:]] == pytest.approx([0.9, 0.6, 0.3])


def test_overlap_rows_say_where_a_correlation_is_missing():
    counts = overlaps(CIRCUIT, CIRCUIT.only("value_fetcher"), n_heads=20)
    correlations = {name: None for name in GROUPS} | {"value_fetcher": Estimate(0.5, 0.1, 0.8, 9)}
    first, second, *_ = tables.overlap({"two": counts}, {"two": correlations}, base="one").rows
    assert first == ["two: A Value fetcher", 2, 2, 2, 0.2, "0.005", 0.5]
    assert second[3:] == [0, 0.0, "1", "too few heads"]
    excess = [o.excess for o in counts]
    assert excess[0].value == pytest.approx(1.8) and excess[0].p_value == counts[0].p_value
    assert excess[1].value == excess[1].low == excess[1].high == 0


def minimality():
    """Every first head of a group is kept by the score, every last one by leave-one-out."""
    scores = {
        name: {str(h): 0.5 if h == heads[0] else 0.0 for h in heads}
        for name, heads in CIRCUIT.groups.items()
    }
    whole = np.linspace(-1, 0, N)
    falls = {
        name: np.stack([whole - 0.1 * (h == heads[-1]) for h in heads])
        for name, heads in CIRCUIT.groups.items()
    }
    gone = {  # the first head of C alone costs clearly: half of the prompts
        name: np.stack([[hits(1), hits(1)] for _ in heads])
        for name, heads in CIRCUIT.groups.items()
    }
    gone["position_detector"][0, 1] = np.arange(N) % 2 == 0
    return Minimality(scores, {}, gone, {}, falls, hits(1), whole, CIRCUIT, 0.01)


def test_kept_heads_are_coloured_counted_and_told():
    picture = figures.minimality_bars(minimality())
    titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert titles[2] == "C Position detector: 1 of 3 kept"
    assert [bar.get_height() for bar in picture.figure.axes[2].patches] == [0.5, 0, 0]
    assert "reaches 1%" in picture.alt and "1 of 2 in A, 1 of 2 in B, 1 of 3 in C" in picture.alt
    assert tables.minimality(minimality()).rows[2] == ["C Position detector", 3, 1, 1, 1, 0]
    assert [row[3] for row in tables.minimality(minimality()).rows] == [0, 0, 1, 0]


def complete(points, labels):
    model, circuit = (
        np.stack([np.arange(1000) < 1000 * x for x in xs]) for xs in zip(*points, strict=True)
    )
    removed = tuple(CIRCUIT.only("value_fetcher") for _ in points)
    return Completeness(removed, labels, circuit, model)


def test_letters_of_groups_keep_off_the_points():
    points = [(0.143, 0.143), (0.184, 0.163), (0.2, 0.12)]
    found = complete(points, ("group C", "random 1", "group B"))
    picture = figures.completeness_scatter(found)
    letters = picture.figure.axes[0].texts
    assert [text.get_text() for text in letters] == ["C", "B"]
    for text in letters:
        assert min(np.hypot(*np.subtract(text.get_position(), point)) for point in points) > 0.03
    assert picture.alt.endswith("the widest gap is -0.08 (group B).")


def test_the_widest_gap_counts_in_either_direction():
    points = [(0.5, 0.4), (0.2, 0.5), (0.3, 0.1), (0.4, 0.1), (0.6, 0.5)]
    found = complete(points, ("group A", "group B", "random 1", "random 2", "greedy 1"))
    label, gap = found.widest("group")
    assert label == "group B" and gap.value == pytest.approx(0.3)
    assert found.mean_gap("random") == pytest.approx(0.25)
    rows = tables.completeness(found).rows
    assert [row[0] for row in rows[:4]] == ["group A", "group B", "greedy 1", "random, mean"]
    assert rows[3][1:] == ["half", pytest.approx(0.1), pytest.approx(0.35), "mean gap 0.25"]
    assert rows[5] == ["Llama-7B group B", 7, 0.02, 0.23, "-0.21"]


def test_growing_fills_one_group_at_a_time(model):
    grown = grow(CIRCUIT, model)
    n = model.n_layers * model.n_heads
    assert list(grown) == [
        "the circuit",
        *(f"all heads for {g.letter}" for g in GROUPS.values()),
    ] + ["all heads for all groups"]
    assert grown["the circuit"] == CIRCUIT and grown["all heads for all groups"].size == 4 * n
    only_b = replace(grown["all heads for B"], groups={**CIRCUIT.groups})
    assert only_b == CIRCUIT and len(grown["all heads for B"].groups["position_transmitter"]) == n
    assert Head(model.n_layers - 1, model.n_heads - 1) in grown["all heads for D"].at(
        CIRCUIT.role("structure_reader")
    )
    rest = scored(1.0, 0.5, 0.75)
    rows = tables.grown(rest, ["the circuit", "more"]).rows
    assert [row[0] for row in rows] == ["the circuit", "more", "whole model"]
    assert [row[2].value for row in rows] == [0, 0.25, 0.5]


def alike(correlation, shared, share=1.0):
    """A likeness with these numbers, whose resamples do not spread."""
    value = Estimate(correlation, correlation - 0.1, correlation + 0.1, N)
    return Likeness("x", shared, 0.5, 0.01, value, value, 0.1, np.full(10, correlation * share))


def test_likeness_has_a_row_for_each_group_and_search_and_shares_one_for_each_search():
    found = {
        "again": {name: alike(0.8, 5) for name in GROUPS},
        "other": {name: alike(0.6, 3) for name in GROUPS} | {"structure_reader": None},
    }
    rows = tables.likeness(found, ceiling="again").rows
    assert [row[0] for row in rows[:3]] == ["A, again", "A, other", "B, again"]
    assert rows[0][1] == "5 (0.5 by chance)" and rows[0][6] == "-"
    assert rows[1][6].value == pytest.approx(0.75) and rows[-1][1:] == ["too few heads"] * 6
    first, second = tables.shares_of_ceiling(found, ceiling="again").rows
    assert first[1].value == 0.8 and second[1].value == pytest.approx(0.75)
    assert second[4] == "too few heads"

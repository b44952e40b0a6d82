"""Figures of the task draw the numbers they are given, and their words tell the same."""

import numpy as np
import pytest

from entrack.figures.task import accuracy_figure, position_figure, size_figure
from entrack.patching.accuracy import TaskScores
from entrack.tables import task as tables

SIX_DIGITS = 1e-5
"""A live figure keeps six significant digits."""


def planted(shares, *, n=40, format="alternative"):
    hits = np.arange(n)[:, None] < n * np.array(shares)
    return TaskScores(hits=hits, log_prob=np.zeros(hits.shape), model="planted", format=format)


@pytest.fixture
def scores():
    return {
        ("base", "alternative"): planted([0.9, 0.5, 0.7]),
        ("base", "standard"): planted([0.5, 0.5, 0.5]),
        ("mine", "alternative"): planted([0.1, 0.1, 0.1]),
        ("mine", "standard"): planted([0.2, 0.2, 0.2]),
    }


def test_accuracies_stand_where_the_estimates_do(scores):
    picture = accuracy_figure(scores, chance=1 / 3, paper={"Llama-7B": 0.66})
    (axes,), alt = picture.figure.axes, picture.alt
    drawn = sorted(
        round(float(line.get_xdata()[0]), 4)
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_marker() not in ("|", "None")
    )
    for found in scores.values():
        assert round(found.accuracy().value, 4) in drawn
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["base", "mine", "Llama-7B"]
    assert "base 0.70 [" in alt and "Llama-7B 0.66" in alt and "Chance is 0.33" in alt


def test_rows_compare_every_version_with_the_base_on_the_same_prompts(scores):
    table = tables.versions(scores, base="base", titles={"base": "the first", "mine": "other"})
    base, mine = table.rows
    assert table.header[2:5] == ["alternative", "standard", "minus base"]
    assert table.caption.startswith("Accuracy on 120 prompts of 3 boxes")
    assert base[:2] == ["base", "the first"] and base[4:] == ["-", "-"]
    assert [accuracy.value for accuracy in base[2:4]] == pytest.approx([0.7, 0.5])
    assert mine[4] == scores["mine", "alternative"].minus(scores["base", "alternative"])
    assert mine[4].value == pytest.approx(-0.6) and mine[5] == f"{mine[4].p_value:.1g}"


def test_one_box_is_compared_with_those_between_the_ends(scores):
    found = scores["base", "alternative"]
    assert found.against_middle(0).value == pytest.approx(0.4)
    assert found.against_middle(-1).value == pytest.approx(0.2)
    assert found.hardest == 1


def test_positions_are_one_line_a_version_and_the_papers(scores):
    main = {
        version: found for (version, format), found in scores.items() if format == "alternative"
    }
    live = position_figure(
        main, chance=1 / 3, paper=[0.97, 0.4, 0.93], paper_title="Llama-7B (earlier set)"
    )
    spec, alt = live.spec, live.alt
    assert [line["name"] for line in spec["data"]] == ["base", "mine", "Llama-7B (earlier set)"]
    line = spec["data"][0]
    assert line["x"] == [1, 2, 3] and line["y"] == pytest.approx([0.9, 0.5, 0.7])
    estimate = main["base"].by_position()[1]
    assert line["error_y"]["array"][1] == pytest.approx(estimate.high - 0.5, rel=SIX_DIGITS)
    assert line["error_y"]["arrayminus"][1] == pytest.approx(0.5 - estimate.low, rel=SIX_DIGITS)
    assert spec["layout"]["shapes"][0]["y0"] == pytest.approx(1 / 3, rel=SIX_DIGITS)
    assert "base 0.90, 0.50, 0.70" in alt and "0.97, 0.40, 0.93" in alt


def test_sizes_carry_their_own_chance():
    live = size_figure({"base": {2: planted([1, 1]), 5: planted([0.8] * 5)}})
    spec, alt = live.spec, live.alt
    chance = spec["data"][-1]
    assert chance["name"] == "chance" and chance["x"] == [2, 5] and chance["y"] == [0.5, 0.2]
    assert spec["data"][0]["y"] == pytest.approx([1, 0.8])
    assert alt == "Accuracy by number of boxes: base from 1.00 with 2 to 0.80 with 5."

"""Figures and tables of what heads carry: what is drawn is what was measured, and the words say it
too.
"""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from entrack.circuit.contents import TARGETS, Contents
from entrack.figures.carry import (
    by_layer,
    figure_three,
    mask_paths,
)
from entrack.patching.masks import DCMConfig, MaskPath, Masks
from entrack.patching.patches import Patch, Patched
from entrack.sites import GROUPS, Head
from entrack.tables import carry as tables

HEADS = (Head(1, 0), Head(1, 1))
TOKENS = {"object": 1, "position": 2, "label": 3, "unchanged": 4}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def lines(figure, panel):
    return [
        [round(float(y), 3) for y in line.get_ydata()] for line in figure.axes[panel].get_lines()
    ]


def patched(patches, answers, unpatched=4):
    n = len(answers[0])
    return Patched(
        patches,
        {name: np.full(n, token) for name, token in TOKENS.items()},
        np.array(answers),
        np.full(n, unpatched),
        np.arange(n),
        "m",
    )


def masks(group, target, *, chosen=1):
    """Masks of two seeds that both choose `chosen` of two heads."""
    scores = np.array([0.0, 0.1, 0.1])
    scores[chosen] = 0.5
    path = MaskPath(
        np.ones((1, 2)),
        np.array([[0, 0], [1, 0], [1, 1]], dtype=bool),
        scores,
        np.array([-1, 0, 0]),
    )
    return Masks(group, target, HEADS, (path, path), 100, DCMConfig(seeds=(0, 1)))


def contents():
    """Every group selects a head for the object alone; 40 % of the answers are the object's."""
    learned = {
        (group, target): masks(group, target, chosen=1 if target == "object" else 0)
        for group in GROUPS
        for target in TARGETS
    }
    patches = {
        **{f"{g} {t}": Patch(GROUPS[g].role, found.agreed()) for (g, t), found in learned.items()},
        **{f"{g} all": Patch(GROUPS[g].role, HEADS) for g in GROUPS},
    }
    object_answers, unchanged = [1] * 8 + [4] * 12, [4] * 20
    answers = [object_answers if p.heads else unchanged for p in patches.values()]
    tested = {version: patched(patches, answers) for version in ("base", "code")}
    return Contents(masks=learned, tested=tested, base="base")


def test_answers_by_layer():
    patches = {"a": Patch("last", resid=4), "b": Patch("last", resid=0)}
    found = patched(patches, [[1, 1, 2, 0], [2, 2, 2, 3]])
    picture = by_layer({"last": found}, n_layers=4)
    assert lines(picture.figure, 0)[:3] == [[0, 0.5], [0.75, 0.25], [0.25, 0]]
    assert "object at most 0.50 (layer 4), position at most 0.75 (layer 0)" in picture.alt


def test_mask_paths_ring_the_chosen_mask_of_every_seed():
    picture = mask_paths({("value_fetcher", "object"): masks("value_fetcher", "object")})
    rings = [line for line in picture.figure.axes[0].get_lines() if line.get_markersize() == 10]
    assert [(float(r.get_xdata()[0]), float(r.get_ydata()[0])) for r in rings] == [
        (1, 0.5),
        (1, 0.5),
    ]
    assert "A object: 1 of 2 heads, best 0.50" in picture.alt


def test_figure_three_marks_what_is_void_and_where_no_head_was_selected():
    paper = {"Llama-7B": {(g, t): 0.4 for g in GROUPS for t in ("object", "position")}}
    picture = figure_three(contents(), paper=paper)
    figure = picture.figure
    assert len(figure.axes) == 8 and not figure.axes[0].texts
    assert [text.get_text() for text in figure.axes[4].texts] == ["void"]
    drawn = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in drawn} == {
        (1, 0),
        (2, 0),
    }
    assert len(figure.axes[0].containers) == 2, "the intervals of object only"
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [
        "base",
        "Llama-7B",
        "code",
        "",
        "no head selected",
        "",
    ]
    assert "A object +0.40, position no head selected" in picture.alt
    assert "label columns are void" in picture.alt


def test_tables_give_what_was_measured():
    found = contents()
    first, second, *_ = tables.masks(found).rows
    assert first[:3] == ["A object", "1 of 2", 1.0] and first[3].value == 0.4
    assert first[5:] == ["-", "0.47 (40 of 40)"] and second[1] == "0 of 2"
    versions = tables.versions(found)
    assert versions.header[1:] == ["A object", "B position", "C position", "D position"]
    assert [row[0] for row in versions.rows] == ["base", "code"]
    assert versions.rows[0][1].value == 0.4
    assert versions.rows[0][2:] == ["no head selected"] * 3
    plain, fetchers, *_ = tables.answers(found).rows
    assert plain == ["nothing patched", 1.0, 0.0, "-"]
    assert fetchers[:2] == ["Value fetcher", 0.6] and fetchers[3].value == 0

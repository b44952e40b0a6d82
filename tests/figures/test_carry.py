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
from entrack.heads.own_masks import OwnMasks
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
    assert first[6:] == ["-", "0.47 (40 of 40)"] and second[1] == "none of 2"
    # Heads of the object and all heads answer alike; with none the object's eight answers are lost.
    assert first[4].value == 0 and second[4].value == 0
    versions = tables.versions(found)
    assert versions.header[1:] == ["A object", "B position", "C position", "D position"]
    assert [row[0] for row in versions.rows] == ["base", "code"]
    assert versions.rows[0][1].value == 0.4
    assert versions.rows[0][2:] == ["no head selected"] * 3
    plain, fetchers, *_ = tables.answers(found).rows
    assert plain == ["nothing patched", 1.0, 0.0, "-"]
    assert fetchers[:2] == ["Value fetcher", 0.6] and fetchers[3].value == 0


def test_masks_that_choose_nothing_are_told_by_their_effect():
    """All heads or none: no overlap of seeds, and all heads are no choice to compare with all."""
    found = contents()
    both = {key: masks(*key, chosen=2) for key in found.masks}
    rows = tables.masks(Contents(masks=both, tested=found.tested, base="base")).rows
    assert rows[0][1:3] == ["all 2", "-"] and rows[0][4] == "the same"
    none = {key: masks(*key, chosen=0) for key in found.masks}
    rows = tables.masks(Contents(masks=none, tested=found.tested, base="base")).rows
    assert rows[0][1:3] == ["none of 2", "-"] and rows[0][4] != "the same"


def five_versions():
    """Five versions, each right on two pairs more than the one before when nothing is patched, and
    naming the source's object on two more with value fetchers patched.
    """
    tested = {}
    for place, name in enumerate(("base", "math", "instruct", "code", "boxes")):
        n = 2 + 2 * place
        unpatched = np.where(np.arange(20) < n, 4, 9)
        answers = np.where(np.arange(20) < n + 1, 1, unpatched)
        found = patched({"value_fetcher all": Patch("last", HEADS)}, [answers])
        tested[name] = Patched(
            found.patches, found.candidates, found.answers, unpatched, found.scenes, name
        )
    learned = {("value_fetcher", "object"): masks("value_fetcher", "object")}
    return Contents(masks=learned, tested=tested, base="base")


def test_changes_are_less_base_and_beside_accuracy():
    table = tables.changes(five_versions())
    assert table.header == ["version", "accuracy", "A object, less base"]
    assert table.rows[0] == ["base", 0.1, "-"]
    version, accuracy, change = table.rows[4]
    assert (version, accuracy, change.value) == ("boxes", 0.5, 0.4)


def test_whether_it_goes_with_accuracy_is_counted_and_ranked():
    ((group, counted, correlation, p),) = tables.with_accuracy(five_versions()).rows
    # Two pairs of 20 more do not lie clear of 0, eight do.
    assert group == "A object" and counted.endswith("1 unclear") and "0 fall" in counted
    assert correlation.value == 1 and p == f"{1 / 120:.2g}"
    few = five_versions()
    three = {name: few.tested[name] for name in ("base", "math", "code")}
    short = Contents(masks=few.masks, tested=three, base="base")
    assert tables.with_accuracy(short).rows[0][2:] == ["-", "-"]


def test_own_masks_stand_beside_base_s_heads_and_all():
    patches = {
        "value_fetcher own": Patch("last", HEADS[:1]),
        "value_fetcher given": Patch("last", HEADS[:1]),
        "value_fetcher all": Patch("last", HEADS),
    }
    answers = [[1] * 6 + [4] * 14, [1] * 6 + [4] * 14, [1] * 9 + [4] * 11]
    learned = {"value_fetcher": masks("value_fetcher", "object")}
    table = tables.own_masks({"code": OwnMasks(learned, patched(patches, answers))})
    ((*told, above, given, whole),) = table.rows
    assert told == ["code", "A object", "1 of 2"]
    assert (above.value, given.value, given.high) == (0.3, 0, 0)
    assert whole.value == pytest.approx(-0.15)

"""The figure and the tables of messages show each cell at its number."""

import pytest
from matplotlib import pyplot as plt
from planted_messages import planted

from entrack.cross_model.messages import BASE, TUNED
from entrack.figures.messages import SHIFT, followed
from entrack.tables import messages as tables

FOUND = {"code": planted(base_base=10, tuned_base=20, base_tuned=18, tuned_tuned=32)}


def test_four_marks_stand_at_the_scores():
    picture = followed(FOUND, patches={"B": "B: position"})
    axes = picture.figure.axes[0]
    drawn = {
        (round(float(c.lines[0].get_xdata()[0]), 3), round(float(c.lines[0].get_ydata()[0]), 3))
        for c in axes.containers
    }
    assert drawn == {(0.25, -SHIFT), (0.5, -SHIFT), (0.35, SHIFT), (0.7, SHIFT)}
    assert "code, B: position: base to base +0.25, tuned to base +0.50" in picture.alt
    plt.close("all")


def test_rows_of_cells_and_of_effects():
    told = {"B": "B: position"}
    (cells,) = tables.cells(FOUND, patches=told).rows
    assert [e.value for e in cells[1:]] == pytest.approx([0.25, 0.5, 0.35, 0.7])
    (effects,) = tables.effects(FOUND, patches=told).rows
    assert effects[0] == "code: B: position"
    assert effects[1] == FOUND["code"].message("B") and effects[2] == FOUND["code"].reading("B")
    assert FOUND["code"].score(BASE, TUNED, "B").value == pytest.approx(0.35)

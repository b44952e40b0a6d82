"""Drawings of the methods say in words, and in their keys, what is done to which run."""

import pytest
from matplotlib import pyplot as plt

from entrack.display import schematic
from entrack.display.svg import figure_svg


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    "drawn, runs, keys",
    [
        (schematic.path_patching, 3, ["held at the clean run", "taken from the other run"]),
        (schematic.mean_ablation, 2, ["mean over other prompts", "computed anew"]),
        (schematic.knock_out, 1, ["computed anew"]),
        (schematic.interchange, 2, ["computed anew", "taken from the other run"]),
        (schematic.cross_model, 2, ["computed anew", "taken from the other run"]),
    ],
)
def test_a_drawing_has_its_runs_and_a_key_for_what_is_in_it(drawn, runs, keys):
    picture = drawn()
    (axes,) = picture.figure.axes
    assert len(axes.patches) == runs * schematic.LAYERS * schematic.TOKENS
    assert [text.get_text() for text in axes.get_legend().get_texts()] == keys
    assert len(picture.alt.split()) > 30
    assert "currentColor" in figure_svg(picture.figure, picture.alt), "drawn for both schemes"


def test_in_path_patching_one_square_alone_is_not_frozen():
    (axes,) = schematic.path_patching().figure.axes
    third = axes.patches[2 * schematic.LAYERS * schematic.TOKENS :]
    assert sum(patch.get_hatch() is None for patch in third) == 1


def test_the_words_beside_a_drawing_do_not_leave_it():
    picture = schematic.path_patching()
    picture.figure.canvas.draw()
    (axes,) = picture.figure.axes
    left, right = axes.get_xlim()
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert left - 0.7 <= box.x0 and box.x1 <= right + 0.7, text.get_text()

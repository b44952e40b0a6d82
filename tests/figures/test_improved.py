"""Figures of what improved: every mark stands at its number, and every part has its label."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from tiny_models import CIRCUIT, fine_tuned, tiny_model

from entrack.cross_model.cmap_suite import cmap, graft_scores
from entrack.cross_model.weight_swap import update_norms
from entrack.figures.improved import (
    OTHERS,
    graft_gains,
    handed_over,
    inputs_bars,
    repaired_and_broken,
    update_maps,
)
from entrack.tables import improved as tables
from entrack.task.draws import scenes

pytestmark = pytest.mark.usefixtures("own_cache")

SCENES = scenes(2, split="evaluation")


@pytest.fixture(scope="module")
def models():
    return tiny_model(), fine_tuned()


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def marks(axes):
    """(x, y) of every mark with error bars."""
    return [
        (float(c.lines[0].get_xdata()[0]), float(c.lines[0].get_ydata()[0]))
        for c in axes.containers
    ]


def numbered(axes):
    """Whether the ticks of the x axis have their numbers below."""
    axes.figure.canvas.draw()
    return any(
        tick.label1.get_visible() and tick.label1.get_text()
        for tick in axes.xaxis.get_major_ticks()
    )


def test_marks_stand_at_the_accuracies(models):
    base, tuned = models
    found = cmap(tuned, base, CIRCUIT, scenes=SCENES, n_far=1, n_random=1, inputs=True)
    picture = handed_over([found])
    axes = picture.figure.axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert (
        labels == ["A", "B", "C", "D", "A and B and C", "full circuit"]
        and axes.get_title(loc="left") == found.title
    )
    drawn = marks(axes)
    for place, label in enumerate(labels):
        assert (pytest.approx(found.of(label).accuracy(label).value), place) in drawn
    for place, letter in enumerate("ABC"):
        others = found.near.accuracy(found.others(letter)).value
        assert (pytest.approx(others), place + 0.36) in drawn
        assert f"{OTHERS} as {letter} {others:.2f}" in picture.alt
    assert found.others("D") is None and len(drawn) == 6 + 4 + 3
    alone = [
        (line.get_segments()[0][0][0], np.mean(line.get_segments()[0][:, 1]))
        for line in axes.collections
        if line.get_segments() and len(line.get_segments()) == 1
    ]
    for place, label in enumerate(labels):
        assert (
            pytest.approx(found.of(label).own_accuracy().value),
            pytest.approx(place),
        ) in alone, "each row is compared with its own prompts"
        assert (
            pytest.approx(found.of(label).donor_accuracy().value),
            pytest.approx(place),
        ) in alone
    inputs = inputs_bars(found)
    assert len(inputs.figure.axes[0].patches) == 12
    assert f"qk of A {found.near.log_prob_gain('qk of A').value:+.2f}" in inputs.alt
    repairs = repaired_and_broken({"tuned": found})
    left, right = repairs.figure.axes
    assert "A of tuned " in repairs.alt
    assert [t.get_text() for t in left.get_yticklabels()] == [f"{x} of tuned" for x in "ABCD"]
    wrong = found.of("A").repaired("A")
    assert wrong is None or (pytest.approx(wrong.value), 0.0) in marks(left)
    for place, letter in enumerate("ABC"):
        for axes, share in ((left, found.near.repaired), (right, found.near.broken)):
            others = share(found.others(letter))
            if others is not None:
                assert (pytest.approx(others.value), pytest.approx(place + 0.38)) in marks(axes)
    assert repairs.alt.count(OTHERS) == 3, "D has none here"
    assert OTHERS in [text.get_text() for text in repairs.figure.legends[0].get_texts()]


@pytest.mark.parametrize("panels", range(1, 6))
def test_each_column_of_panels_ends_with_its_axis(models, panels):
    base, tuned = models
    found = cmap(tuned, base, CIRCUIT, scenes=SCENES, n_far=1, n_random=1)
    picture = handed_over([found] * panels)
    columns = {}
    for axes in picture.figure.axes:
        if axes.get_visible():
            columns.setdefault(axes.get_subplotspec().colspan.start, []).append(axes)
    assert len(columns) == min(2, panels) and sum(map(len, columns.values())) == panels
    for *upper, lowest in columns.values():
        assert lowest.get_xlabel() == "accuracy" and numbered(lowest)
        assert not any(axes.get_xlabel() or numbered(axes) for axes in upper)


def test_grafts_and_updates_are_drawn_part_by_part(models):
    base, tuned = models
    found = graft_scores(base, tuned, CIRCUIT, scenes=SCENES, n_random=1)
    picture = graft_gains({"tuned onto base": found})
    axes = picture.figure.axes[0]
    assert f"circuit {found.gain('circuit').value:+.2f}" in picture.alt
    assert (
        axes.get_yticklabels()[0].get_text() == "whole update (20)"
        and len(axes.get_yticks()) == len(found.scores) - 1
    )
    assert (
        pytest.approx(found.gain("circuit").value),
        [t.get_text() for t in axes.get_yticklabels()].index(
            f"circuit ({found.n_heads['circuit']})"
        ),
    ) in marks(axes)
    norms = update_norms(tuned, onto=base)
    figure = update_maps(norms)
    np.testing.assert_allclose(
        np.array(figure.spec["data"][1]["z"]).T, norms.relative[1], rtol=1e-5
    )
    assert "on average q" in figure.alt
    domains, height = (
        [figure.spec["layout"][f"yaxis{i}"]["domain"] for i in ("", 2, 3, 4)],
        figure.spec["layout"]["height"] - 75,
    )
    gaps = [(upper[0] - lower[1]) * height for upper, lower in itertools.pairwise(domains)]
    assert min(gaps) > 50, "room for the ticks above and the title below"


def test_rows_are_the_gains_losses_and_updates(models):
    base, tuned = models
    given = cmap(tuned, base, CIRCUIT, scenes=SCENES, n_far=1, n_random=1, inputs=True)
    (first, *_) = tables.gains([given]).rows
    assert first[0] == f"{given.title}: A"
    assert first[1:3] == [given.near.accuracy("A"), given.gain("A")]
    assert first[4:6] == [given.random_gain("A"), given.gain(given.others("A"))]
    assert first[6] == given.near.log_prob_gain("A")
    (alone,) = tables.donors({"tuned": given}).rows
    assert alone == ["tuned", given.near.donor_accuracy(), given.edge()]
    (row, *_) = tables.inputs(given).rows
    assert row[1:] == [given.near.log_prob_gain(cell) for cell in ("A", "qk of A", "v of A")]
    shown = [row[0] for row in tables.cells(given).rows]
    assert {"A", "full circuit", "q of A"} <= set(shown)
    assert not any(label.startswith(("random", "all others")) for label in shown)
    norms = update_norms(tuned, onto=base)
    matrices = [row[:2] for row in tables.updates({"tuned": norms}, CIRCUIT).rows]
    means = norms.mean_relative()
    assert matrices == [[f"tuned: W_{m}", means[i]] for i, m in enumerate("QKVO")]


def test_losses_say_what_share_of_the_gap_closes(models):
    base, tuned = models
    taken = cmap(base, tuned, CIRCUIT, scenes=SCENES, n_far=1, n_random=1)
    for row in tables.losses([taken]).rows:
        share = taken.closed(row[0].rpartition(": ")[2])
        assert row[-1] == ("-" if share is None else f"{share:.0%}")

"""Figures of information flow: what is drawn is what was measured, and the
words say it too.
"""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from small_circuit import CIRCUIT

from entrack.display.svg import figure_svg
from entrack.errors import SiteError
from entrack.figures.flow import (
    attention_shares,
    edge_words,
    knockout_curves,
    readings_by_version,
    share_lost,
)
from entrack.paper import published
from entrack.patching.attention_knockout import EDGES, Knockouts
from entrack.patching.attention_mass import KINDS, AttentionMass
from entrack.sites import Head
from entrack.tables import flow as tables


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


def knocked():
    """One reading in the paper, with the curve of `hits` by first blocked layer, and one not."""
    curves = {edge: np.stack([hits(0.2), hits(0.8)]) for edge in EDGES}
    return Knockouts(curves, hits(0.8), (0, 4), 4, np.arange(20), "m")


def test_knockout_curves_are_shares_of_the_unblocked_accuracy():
    picture = knockout_curves(knocked(), version="base")
    paper = published.knockout().values["last_to_correct_object"]
    whole = published.table1().values["llama"].full
    measured, theirs = lines(picture.figure, 0)
    assert measured == [0.25, 1.0] and theirs == [round(y / whole, 3) for y in paper]
    assert lines(picture.figure, 6) == [[0.25, 1.0]], "the paper does not block the last edge"
    words = "last token reads right object: 0.25 blocked everywhere, the paper 0.06"
    assert words in picture.alt and "not in the paper" in picture.alt
    assert edge_words(EDGES[2]) == "query label reads earlier label"
    assert figure_svg(picture.figure, picture.alt).startswith("<svg")


def test_rows_of_readings_say_what_the_paper_has():
    first, *_, direct, random, _, last, both = tables.readings(knocked()).rows
    assert first[1].value == pytest.approx(-0.6) and first[2:] == ["0.50", "-0.62", "0.69"]
    assert direct[3:] == ["-0.01", "no clear loss"] and random[3:] == ["-0.03", "no clear loss"]
    for ours in (last, both):
        assert ours[3:] == ["not in the paper", "not in the paper"]


def test_attention_bars_and_the_mean_of_all_heads():
    mass = np.zeros((2, 2, len(KINDS), 4))
    mass[:, :, KINDS.index("rest")] = 1
    mass[1, 1, :, :] = 0
    mass[1, 1, KINDS.index("correct_object")] = 1
    found = AttentionMass("last", mass, np.arange(4), "m")
    groups, average = (
        {"value_fetcher": found.of([Head(1, 1)])},
        {"value_fetcher": found.everywhere},
    )
    picture = attention_shares(groups, average=average)
    axes = picture.figure.axes[0]
    assert axes.patches[0].get_width() == 1
    assert axes.get_lines()[-1].get_xdata()[KINDS.index("correct_object")] == 0.25
    assert "Value fetchers look at right object (1.00)" in picture.alt
    (row,) = tables.attention(groups, average=average, circuit=CIRCUIT).rows
    assert row[:4] == ["A Value fetcher", 2, "last token", "right object"]
    assert row[4].value == 1 and row[5:] == [0.25, 4]


def test_three_groups_have_a_scale_below_each_column():
    mass = np.full((2, 2, len(KINDS), 4), 1 / len(KINDS))
    found = AttentionMass("last", mass, np.arange(4), "m")
    names = ("value_fetcher", "position_transmitter", "position_detector")
    groups = dict.fromkeys(names, found.of([Head(1, 1)]))
    picture = attention_shares(groups, average=dict.fromkeys(names, found.everywhere))
    shown = [axes for axes in picture.figure.axes if axes.get_visible()]
    scales = [
        any(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks()) for axes in shown
    ]
    assert scales == [False, True, True]


def test_no_group_is_said_in_a_sentence():
    with pytest.raises(SiteError, match="no group of the circuit has a head"):
        attention_shares({}, average={})


def by_version():
    """The first reading costs half of the right answers in one version, and all in a better one."""
    first, second = EDGES[:2]
    worse = {first: hits(0.2)[None], second: hits(0.4)[None]}
    better = {first: hits(0.0)[None], second: hits(0.8)[None]}
    made = {"better": (better, hits(0.8)), "worse": (worse, hits(0.4))}
    return {
        name: Knockouts(curves, plain, (0,), 4, np.arange(20), name)
        for name, (curves, plain) in made.items()
    }


def test_versions_are_compared_by_the_share_that_they_lose():
    found = by_version()
    assert share_lost(found["worse"], EDGES[0]).value == pytest.approx(-0.5)
    assert share_lost(found["better"], EDGES[0]).value == -1
    picture = readings_by_version(found)
    (axes,) = picture.figure.axes
    drawn = [container.lines[0].get_xdata() for container in axes.containers]
    assert [list(map(float, xs)) for xs in drawn] == [[-1, 0], [pytest.approx(-0.5), 0]]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["last token\nreads right object", "last token\nreads query label"]
    assert "better: last token reads right object -1.00, last token" in picture.alt


def test_rows_of_versions_begin_with_the_least_accurate():
    worse, better = tables.readings_by_version(by_version()).rows
    assert (worse[0], better[0]) == ("worse", "better") and worse[1].value == 0.4
    assert worse[2].value == pytest.approx(-0.2) and better[2].value == pytest.approx(-0.8)
    assert worse[3].value == better[3].value == 0

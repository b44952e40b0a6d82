"""The figure and the tables of slips show both sides, the change and the paper's own numbers."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from entrack.figures import slips as figures
from entrack.paper import findings, published
from entrack.paper.slip import Slip, paired
from entrack.stats.metrics import Estimate, exact
from entrack.tables import slips as tables

SLIPS = [
    Slip("rounding", "cause: effect", Estimate(0.2, 0.1, 0.3, 9), exact(0.8)),
    Slip("is_not", "count: heads", exact(0.5), exact(0.498)),
    paired("cmap_in_batch", "same: hits", np.arange(40) < 20, np.arange(40) < 24),
]


def test_a_slip_has_a_mark_on_either_side_of_its_line():
    picture = figures.slip_bars(SLIPS)
    axes = picture.figure.axes[0]
    marks = [c.lines[0].get_xdata()[0] for c in axes.containers]
    assert marks == pytest.approx([0.2, 0.8, 0.5, 0.498, 0.5, 0.6])
    assert axes.get_yticklabels()[0].get_text() == "cause:\neffect"
    assert picture.alt.startswith("cause: effect: 0.20 becomes 0.80; count: heads")
    plt.close("all")


def test_rows_show_the_change_with_its_interval():
    first, count, same = tables.switched(SLIPS, "Slips").rows
    assert first == ["cause: effect", "0.20 [0.10, 0.30]", "0.80", "+0.60 [+0.50, +0.70]", "yes"]
    assert count[1:] == ["0.50", "0.50", "+0.00", "exact count"]
    assert same[3] == "+0.10 [+0.00, +0.20]" and same[4] == "yes"


def test_every_known_slip_has_a_row():
    rows = tables.known({"rounding"}).rows
    assert len(rows) == len(published.slips().values)
    assert [row[0] for row in rows if row[3]] == ["accuracies rounded before ratios"]


def test_what_the_paper_has_on_a_slip():
    told = findings.slip_effects()
    assert told["slip_label"] == "in the paper at most 0.00 % in all 48 cells"
    assert told["slip_padded"] == "in the paper 0.33 becomes 0.16"
    assert told["slip_threshold"].endswith("175 against 97 heads in FLoat-7B")

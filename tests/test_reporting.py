"""Chapters measure and explain; what only reports is short."""

from pathlib import Path

import pytest
from reporting import REACHED, reporting_share

CHAPTERS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.py"))
GOAL = 1 / 3


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_third_of_a_chapters_code_reports_or_what_was_reached(path):
    share = reporting_share(path.read_text())
    assert share <= REACHED.get(path.stem, GOAL), f"{path.stem}: {share:.2f}"


def test_reporting_is_told_from_measuring():
    source = """# %% tags=["parameters"]
n: int = 3
# %%
from entrack.patching.accuracy import score_task
from entrack.display.cells import glue, show
from entrack.figures.task import size_figure

scores = score_task(model, n)

# %%
worst = min(scores)
show(size_figure(scores))
glue(
    worst=worst,
)
"""
    # Three imports and a measurement; `worst` is only glued.
    assert reporting_share(source) == pytest.approx(5 / 9)

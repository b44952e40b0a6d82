"""What a notebook cell calls to show something: a number, a figure, a live figure, a table.

Nothing here goes without words: a figure has an alternative text, a table a caption, and a number
that was not measured is never passed off as one. All outputs are plain data (SVG, HTML, JSON):
reading them needs no network."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isnan

from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from entrack.display.live import data_tables, live_html, plotly_spec
from entrack.display.svg import MAX_BYTES, figure_svg
from entrack.display.tables import Table, plain, table_html
from entrack.errors import FigureError
from entrack.stats.claims import Claim
from entrack.stats.metrics import Difference, Estimate

CLAIMS = "application/vnd.entrack.claims+json"
"""Media type of the record that `judge` leaves in a cell's outputs."""


def glue(**values) -> None:
    """Give each value a name that prose can use: ``{glue:text}`name:.2f` ``.

    A value is a string, a bool, a Python number or a scalar of numpy or torch (0-d, any device); or
    an `Estimate`, which becomes its text with the interval, "0.66 [0.62, 0.70]", with signs if it
    is a `Difference`, and "not measured" if it is NaN. The cell shows nothing. The record is the
    one that papermill and MyST-NB share, so reading it back needs neither.

    Raises FigureError for a name that the role cannot hold, for an array, and for NaN or infinity:
    what was not measured is glued as the text "not measured", which no number format accepts, so no
    page can print it as a number. Then none of the values is glued."""
    for name in values:
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise FigureError(
                f"glue name {name!r}; letters, digits and underscores, a letter first. Rename it."
            )
    texts = {
        name: plain(f"glued value {name!r}", _text(value) if isinstance(value, Estimate) else value)
        for name, value in values.items()
    }
    for name, text in texts.items():
        display(
            {"application/papermill.record/text/plain": repr(text)},
            raw=True,
            metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
        )


def listed(items: Iterable[str], *, none: str = "none") -> str:
    """Items as a list in a sentence: "code, math and boxes"; `none` where there are no items."""
    *others, last = [*items] or [none]
    return f"{', '.join(others)} and {last}" if others else last


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure and what there is to see in it, as every figure function gives.

    `alt` says it in a sentence or two, the finding first; it becomes the accessible name.
    """

    figure: Figure
    alt: str


def show(result: "Picture | LiveFigure | Table", *, folded: bool = False) -> None:
    """Show a figure or a table. A matplotlib figure becomes SVG and is closed; its pure black
    follows the reader's theme, light or dark. Its caption stands in a comment at the top of the
    cell, that of a table in the table. `folded`, of a table alone: a page shows the caption, and
    the rows at a click, so that a chapter can be read without stopping at each.

    Raises FigureError for an `alt` of fewer than three words, an SVG above 400 kB, and a table as
    `Table` says."""
    if isinstance(result, LiveFigure):
        display(result)
    elif isinstance(result, Table):
        result = replace(result, folded=folded or result.folded)
        display({"text/html": result.html, "text/plain": result.text}, raw=True)
    else:
        _show_picture(result)


def _show_picture(picture: Picture) -> None:
    alt = _alt(picture.alt)
    text = figure_svg(picture.figure, alt)
    if len(text) > MAX_BYTES:
        raise FigureError(
            f"figure of {len(text) // 1000} kB; at most {MAX_BYTES // 1000} kB. Draw fewer marks,"
            " or call set_rasterized(True) on the dense ones."
        )
    plt.close(picture.figure)
    display(
        {"image/svg+xml": text, "text/plain": alt},
        raw=True,
        metadata={"image/svg+xml": {"alt": alt, "needs_background": "light"}},
    )


class LiveFigure:
    """A plotly figure as data: readers hover and zoom offline, and find the numbers in a folded
    table.

    `figure` is a plotly Figure or its dictionary; `alt` as in `show`. The last expression of a cell
    shows it. The page draws it with the book's own copy of plotly.js, once per page, in the colours
    of the theme; without JavaScript, in print or for a screen reader the table and `alt` stand in.
    Floats keep six significant digits.

    Raises FigureError for an empty `alt`, for animation frames (their data would be in no table),
    and above 400 kB."""

    def __init__(self, figure, *, alt: str):
        self.alt = _alt(alt)
        self.spec = plotly_spec(figure)
        if self.spec.pop("frames", None):
            raise FigureError(
                "live figure with animation frames; traces only. Make one trace per state and a"
                " slider whose steps set `visible`."
            )
        self._html = live_html(self.spec, self.alt, data_tables(self.spec))
        if len(self._html) > MAX_BYTES:
            raise FigureError(
                f"live figure of {len(self._html) // 1000} kB; at most {MAX_BYTES // 1000} kB. "
                "Pass fewer points."
            )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self._html, "text/plain": self.alt}


def judge(*claims: Claim, caption: str) -> None:
    """Show claims with their verdicts and rules, and record them in the notebook's outputs.

    The record (`CLAIMS`, JSON) is what the pages of claims and `entrack run --compare` read. Each
    verdict is glued too, as `verdict_<slug>`, for prose. Raises FigureError for a slug used twice.
    """
    slugs = [claim.slug for claim in claims]
    repeated = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if repeated:
        raise FigureError(
            f"claim {repeated!r} twice in one table; each has its own slug. Rename one."
        )
    header = ["claim", "the paper", "here", "verdict", "rule"]
    rows = [[c.text, c.paper_words, c.measured, c.verdict_words, c.rule_words] for c in claims]
    display(
        {
            "text/html": table_html(rows, header, caption=caption),
            "text/plain": Table(rows, header, caption).text,
            CLAIMS: [claim.record() for claim in claims],
        },
        raw=True,
    )
    glue(**{f"verdict_{claim.slug}": claim.verdict_words for claim in claims})


def _text(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return "not measured"
    return f"{estimate:+.2f}" if isinstance(estimate, Difference) else f"{estimate:.2f}"


def _alt(alt: str) -> str:
    words = " ".join(alt.split())
    if len(words.split(" ")) < 3:
        raise FigureError(
            f'alt text {alt!r}; a sentence on what the figure shows is needed. Pass alt="...".'
        )
    return words

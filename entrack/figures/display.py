"""What a notebook cell calls to show something: a number, a figure, a live figure, a table.

Nothing here goes without words: a figure has an alternative text, a table a caption, and a number
that was not measured is never passed off as one. All outputs are plain data (SVG, HTML, JSON):
reading them needs no network."""

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from numbers import Number

from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from entrack.errors import EntrackError
from entrack.figures.live import data_tables, live_html, plotly_spec
from entrack.figures.svg import MAX_BYTES, figure_svg

NOT_RUN = "not run here"
"""How a table shows `None`."""

_NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?%?(\s\[[^\]]*\])?")
_ESTIMATE = re.compile(r"\S+ \[\S+, \S+?\]")
SHORT, LONG = 10, 24
"""Characters up to which a cell stays on one line, and from which on its column keeps a readable
width on a phone.
"""


class FigureError(EntrackError):
    """A figure, table or glued number that a reader could not understand or could not load."""


def glue(name: str, value) -> None:
    """Give `value` a name that prose can use: ``{glue:text}`name:.2f` ``.

    `value` is a string, a bool, a Python number or a scalar of numpy or torch (0-d, any device).
    The cell shows nothing. The record is the one that papermill and MyST-NB share, so reading it
    back needs neither.

    Raises FigureError for a name that the role cannot hold, for an array, and for NaN or infinity:
    what was not measured is glued as the text "not measured", which no number format accepts, so no
    page can print it as a number."""
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise FigureError(
            f"glue name {name!r}; letters, digits and underscores, a letter first. Rename it."
        )
    value = _plain(f"glued value {name!r}", value)
    display(
        {"application/papermill.record/text/plain": repr(value)},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    )


def show(figure: Figure, *, alt: str) -> None:
    """Show a matplotlib figure as SVG and close it. Pure black follows the reader's theme, light or
    dark.

    `alt` says in a sentence or two what there is to see, the finding first; it becomes the
    accessible name. Raises FigureError for an `alt` of fewer than three words, or an SVG above 400
    kB."""
    alt = _alt(alt)
    text = figure_svg(figure, alt)
    if len(text) > MAX_BYTES:
        raise FigureError(
            f"figure of {len(text) // 1000} kB; at most {MAX_BYTES // 1000} kB. Draw fewer marks,"
            " or call set_rasterized(True) on the dense ones."
        )
    plt.close(figure)
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


def table(
    rows: Iterable[Sequence], header: Sequence[str], *, caption: str, digits: int = 2
) -> None:
    """Show a table whose first column names the rows.

    Cells are text, numbers (floats with `digits` decimals) or None, shown as "not run here".
    `caption` says what the table finds. Raises FigureError for an empty caption, a row of another
    length than `header`, NaN or infinity."""
    if not caption.strip():
        raise FigureError('table with an empty caption; a sentence is needed. Pass caption="...".')
    header = [str(name) for name in header]
    body = [[_cell(value, digits) for value in row] for row in rows]
    for i, row in enumerate(body):
        if len(row) != len(header):
            raise FigureError(
                f"table row {i} of {len(row)} cells; the header has {len(header)}. Make them agree."
            )
    display(
        {
            "text/html": _table_html(body, header, caption),
            "text/plain": _table_text(body, header, caption),
        },
        raw=True,
    )


def _alt(alt: str) -> str:
    words = " ".join(alt.split())
    if len(words.split(" ")) < 3:
        raise FigureError(
            f'alt text {alt!r}; a sentence on what the figure shows is needed. Pass alt="...".'
        )
    return words


def _plain(what: str, value):
    """Reduce a scalar of numpy or torch to Python's own; refuse arrays, NaN and infinity."""
    if hasattr(value, "item"):
        if getattr(value, "ndim", 0):
            raise FigureError(
                f"{what} of shape {tuple(value.shape)}; a single number is needed. Reduce it first."
            )
        value = value.item()
    if not isinstance(value, (str, bool, Number)) or isinstance(value, complex):
        raise FigureError(
            f"{what} of type {type(value).__name__}; text, bool or a real number is needed."
            " Convert it."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise FigureError(
            f"{what} is {value}; a finite number is needed. If it was not measured, pass the text "
            '"not measured".'
        )
    return value


def _cell(value, digits: int) -> tuple[str, bool]:
    """A cell's text, and whether it is a number (and so stands on the right)."""
    if value is None:
        return NOT_RUN, False
    value = _plain("table cell", value)
    if isinstance(value, float):
        return f"{value:.{digits}f}", True
    return str(value), isinstance(value, int) and not isinstance(value, bool)


def _table_html(body: list[list[tuple[str, bool]]], header: list[str], caption: str) -> str:
    right = [all(row[i][1] for row in body) and bool(body) for i in range(len(header))]
    long = [
        any(len(row[i][0]) > LONG and not _NUMBER.fullmatch(row[i][0]) for row in body)
        for i in range(len(header))
    ]
    head = "".join(
        f'<th scope="col"{_kind("", r)}>{escape(name)}</th>'
        for name, r in zip(header, right, strict=True)
    )
    lines = []
    for row in body:
        cells = [f'<th scope="row"{_kind(row[0][0], False, long[0])}>{_unbroken(row[0][0])}</th>']
        cells += [
            f"<td{_kind(text, number, wide)}>{_unbroken(text)}</td>"
            for (text, number), wide in zip(row[1:], long[1:], strict=True)
        ]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return (
        '<div class="entrack-table" role="region" tabindex="0" aria-label="'
        + escape(caption)
        + '"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>\n"
    )


def _kind(text: str, number: bool, long: bool = False) -> str:
    """The class that says how a cell may break: a number, an estimate or a short text never, prose
    only from some width on.
    """
    name = (
        "number"
        if number
        else (
            "estimate"
            if _NUMBER.fullmatch(text) or 0 < len(text) <= SHORT
            else "prose"
            if long
            else ""
        )
    )
    return f' class="{name}"' if name else ""


def _unbroken(text: str) -> str:
    """The cell as HTML; an estimate and its interval stay on one line."""
    if _NUMBER.fullmatch(text):
        return escape(text)
    return _ESTIMATE.sub(
        lambda match: f'<span class="estimate">{match.group()}</span>', escape(text)
    )


def _table_text(body: list[list[tuple[str, bool]]], header: list[str], caption: str) -> str:
    rows = [header, *[[text for text, _ in row] for row in body]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([caption, *lines])

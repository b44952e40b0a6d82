"""Tables as HTML that holds on a phone, for notebook cells and for the pages of the book alike."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Number

from entrack.errors import FigureError
from entrack.stats.metrics import Difference, Estimate

NOT_RUN = "not run here"
"""How a table shows `None`."""

_NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?%?(\s\[[^\]]*\])?")
_ESTIMATE = re.compile(r"\S+ \[\S+, \S+?\]")
NUMBER_CLASS = ' class="number"'
SHORT, LONG = 10, 24
"""Characters up to which a cell stays on one line, and from which on its column keeps a readable
width on a phone.
"""
VERDICT = "verdict"
"""The column whose cells are shown as badges."""
FOLDED = 10
"""Rows that a table on a page shows at once; a longer one opens at a click."""


class Verdict(str):
    """A verdict in a column that is called something else: its cell is shown as a badge too."""


def table_html(
    rows: Iterable[Sequence],
    header: Sequence[str],
    *,
    caption: str | tuple[str, str],
    digits: int = 2,
) -> str:
    """A table whose first column names the rows, as HTML.

    Cells are text, verdicts (`Verdict`, shown as badges), numbers (floats with `digits` decimals),
    estimates (shown with their interval, differences with their sign), a pair (text, address) that
    becomes a link, or None, shown as "not run here"; the caption may be such a pair too. Raises
    FigureError for an empty caption, a row of another length than `header`, NaN or infinity.
    """
    body = _cells(rows, header, caption, digits)
    right = [all(row[i].number for row in body) and bool(body) for i in range(len(header))]
    long = [
        any(len(row[i].text) > LONG and not _NUMBER.fullmatch(row[i].text) for row in body)
        for i in range(len(header))
    ]
    head = "".join(
        f'<th scope="col"{NUMBER_CLASS if r else ""}>{escape(name)}</th>'
        for name, r in zip(header, right, strict=True)
    )
    lines = []
    for first, *others in body:
        cells = [f'<th scope="row"{first.kind(long[0])}>{first.html}</th>']
        cells += [
            f"<td{cell.kind(wide)}>"
            f"{badge(cell.text) if name == VERDICT or cell.verdict else cell.html}</td>"
            for cell, wide, name in zip(others, long[1:], header[1:], strict=True)
        ]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    title = _cell(caption, digits)
    return (
        f'<div class="entrack-table" role="region" tabindex="0" aria-label="{escape(title.text)}">'
        f"<table><caption>{title.html}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>\n"
    )


def badge(verdict: str) -> str:
    """A verdict as the book shows it everywhere: in its colour, and with a sign of its own."""
    return (
        f'<span class="entrack-verdict" data-verdict="{escape(verdict)}">{escape(verdict)}</span>'
    )


@dataclass(frozen=True)
class Table:
    """Rows under a header, with a caption that says what they find: what `show` of `cells` shows.

    Attributes:
        rows: what cells may be, `table_html` says; the first of a row names it.
        header: a title for each column.
        caption: what the table finds, a sentence or a title.
        digits: decimals of numbers that are not whole.
        folded: whether a page shows the caption alone until it is opened, however few the rows.

    `html` and `text` raise FigureError as `table_html` does.
    """

    rows: Sequence[Sequence]
    header: Sequence[str]
    caption: str
    digits: int = 2
    folded: bool = False

    @property
    def html(self) -> str:
        """The table for a page, under its caption where it is folded or has more rows than
        `FOLDED`.
        """
        found = table_html(self.rows, self.header, caption=self.caption, digits=self.digits)
        if len(self.rows) <= FOLDED and not self.folded:
            return found
        rows = f"{len(self.rows)} rows" if len(self.rows) > 1 else "1 row"
        title = f"{escape(self.caption)} ({rows})"
        return f'<details class="entrack-long"><summary>{title}</summary>{found}</details>'

    @property
    def text(self) -> str:
        """The same table as aligned text."""
        body = _cells(self.rows, self.header, self.caption, self.digits)
        texts = [list(self.header), *[[cell.text for cell in row] for row in body]]
        widths = [max(len(row[i]) for row in texts) for i in range(len(self.header))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in texts
        ]
        return "\n".join([self.caption, *lines])


def plain(what: str, value):
    """A scalar of numpy or torch as Python's own. Raises FigureError for arrays, other objects, NaN
    and infinity; `what` names the value in the message.
    """
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


@dataclass(frozen=True)
class _Cell:
    text: str
    number: bool = False
    address: str = ""
    verdict: bool = False

    @property
    def html(self) -> str:
        """An estimate and its interval stay on one line."""
        if self.address:
            link = f'<a class="reference internal" href="{escape(self.address)}">'
            return f"{link}{escape(self.text)}</a>"
        if _NUMBER.fullmatch(self.text):
            return escape(self.text)
        return _ESTIMATE.sub(
            lambda match: f'<span class="estimate">{match.group()}</span>', escape(self.text)
        )

    def kind(self, long: bool) -> str:
        """The class that says how a cell may break: a number, an estimate or a short text never,
        prose only from some width on.
        """
        name = "prose" if long else ""
        if _NUMBER.fullmatch(self.text) or 0 < len(self.text) <= SHORT:
            name = "estimate"
        if self.number:
            name = "number"
        return f' class="{name}"' if name else ""


def _cells(
    rows: Iterable[Sequence], header: Sequence[str], caption: str | tuple[str, str], digits: int
) -> list[list[_Cell]]:
    if not _cell(caption, digits).text.strip():
        raise FigureError('table with an empty caption; a sentence is needed. Pass caption="...".')
    body = [[_cell(value, digits) for value in row] for row in rows]
    for i, row in enumerate(body):
        if len(row) != len(header):
            raise FigureError(
                f"table row {i} of {len(row)} cells; the header has {len(header)}. Make them agree."
            )
    return body


def _cell(value, digits: int) -> _Cell:
    if value is None:
        return _Cell(NOT_RUN)
    if isinstance(value, tuple):
        return _Cell(str(value[0]), address=str(value[1]))
    if isinstance(value, Estimate):
        plain("table cell", value.value)
        return _Cell(f"{value:{'+' if isinstance(value, Difference) else ''}.{digits}f}")
    if isinstance(value, Verdict):
        return _Cell(str(value), verdict=True)
    value = plain("table cell", value)
    if isinstance(value, float):
        return _Cell(f"{value:.{digits}f}", number=True)
    return _Cell(str(value), number=isinstance(value, int) and not isinstance(value, bool))

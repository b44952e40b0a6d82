"""Our numbers beside the paper's as marks on one axis, a drawing for each finding.

The drawing is as wide as the page and its letters have the size of the page's, on a phone too:
places across are shares of the width, heights are pixels.
"""

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby
from textwrap import wrap

from entrack.record.beside_paper import UNITS, Compared, Mark
from entrack.record.counts import sentence

COLUMN = 46
"""Characters of a claim in a line; a phone shows so many."""
LEFT, RIGHT = 24, 96
"""Where the axis begins and ends, in percent of the width; names stand left of it."""
LINE, GAP, AXIS = 18, 10, 40
"""Heights in pixels: of a line, between two claims, of an axis with its title."""
THE_PAPER = "paper"


def forest_html(rows: Sequence[Compared], *, title: str) -> str:
    """The claims of one finding: under each its numbers here, a line for each version, and the
    paper's. Numbers of one unit share an axis. "" without rows.
    """
    if not rows:
        return ""
    parts, top = [_legend()], 2 * LINE
    ordered = sorted(rows, key=lambda row: UNITS.index(row.unit))
    for unit, group in groupby(ordered, key=lambda row: row.unit):
        drawn, top = _panel(unit, list(group), top)
        parts += drawn
    return (
        f'<figure class="entrack-forest"><figcaption>{escape(title)}</figcaption>'
        f'<svg role="img" width="100%" height="{top}" aria-label="{escape(words(rows, title))}">'
        f"{''.join(parts)}</svg></figure>"
    )


def words(rows: Sequence[Compared], title: str) -> str:
    """The same in words: every claim with its numbers here and in the paper."""
    told = [
        f"{row.claim.record['text']}: here {_listed(row.here)}; the paper {_listed(row.paper)}"
        for row in rows
    ]
    return f"{title}. {'. '.join(told)}."


def _listed(marks: Sequence[Mark]) -> str:
    return ", ".join(
        f"{m.value:+.2f}"
        + (f" [{m.low:+.2f}, {m.high:+.2f}]" if m.low < m.high else "")
        + (f" ({m.name})" if m.name != "here" else "")
        for m in marks
    )


def _panel(unit: str, rows: Sequence[Compared], top: float) -> tuple[list[str], float]:
    """What is drawn for the claims of one unit from height `top` on, and where it ends."""
    marks = [mark for row in rows for mark in (*row.here, *row.paper)]
    ticks = _ticks(min(m.low for m in marks), max(m.high for m in marks))
    begin, parts = top, []
    for row in rows:
        top += GAP
        lines = wrap(sentence(str(row.claim.record["text"])), COLUMN)
        for line in lines:
            top += LINE
            parts.append(_text(0, top, line, "claim"))
        top += LINE
        verdict = row.claim.verdict_words
        parts.append(_text(0, top, verdict, "verdict", f' data-verdict="{escape(verdict)}"'))
        for mark in row.here:
            top += LINE
            parts.append(_text(2, top, mark.name, "name"))
            parts.append(_interval(mark, top - 4, ticks))
        top += LINE
        parts.append(_text(2, top, THE_PAPER, "name"))
        parts += [_diamond(_across(m.value, ticks), top - 4, _told(m)) for m in row.paper]
    top += GAP
    return [*_axis(ticks, unit, begin + GAP, top), *parts], top + AXIS + GAP


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around all marks and 0: at most six."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = next(s for s in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0) if (high - low) / s <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 2) for i in range(first, last + 1)]


def _across(value: float, ticks: Sequence[float]) -> float:
    """Where a value lies, in percent of the width."""
    return LEFT + (RIGHT - LEFT) * (value - ticks[0]) / (ticks[-1] - ticks[0])


def _axis(ticks: Sequence[float], unit: str, top: float, bottom: float) -> list[str]:
    lines = []
    for tick in ticks:
        x, kind = f"{_across(tick, ticks):.2f}%", "zero" if tick == 0 else "grid"
        lines.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top:g}" y2="{bottom:g}"/>')
        shown = "0" if tick == 0 else f"{tick:+.2f}".rstrip("0").rstrip(".")
        lines.append(_text(_across(tick, ticks), bottom + 16, shown, "tick"))
    return [*lines, _text(0, bottom + 34, unit, "unit")]


def _interval(mark: Mark, y: float, ticks: Sequence[float]) -> str:
    low, value, high = (f"{_across(v, ticks):.2f}%" for v in (mark.low, mark.value, mark.high))
    return (
        f'<g class="here"><title>{escape(_told(mark))}</title>'
        f'<line x1="{low}" x2="{high}" y1="{y:g}" y2="{y:g}"/>'
        f'<circle cx="{value}" cy="{y:g}" r="4.5"/></g>'
    )


def _diamond(x: float, y: float, told: str) -> str:
    return (
        f'<svg class="paper" x="{x:.2f}%" y="{y:g}" overflow="visible" width="1" height="1">'
        f'<title>{escape(told)}</title><path d="M0-6 6 0 0 6-6 0z"/></svg>'
    )


def _told(mark: Mark) -> str:
    return f"{mark.name}: {_listed([Mark('here', mark.value, mark.low, mark.high)])}"


def _legend() -> str:
    y = LINE - 4
    return (
        '<g class="here"><line x1="4" x2="28" y1="14" y2="14"/>'
        '<circle cx="16" cy="14" r="4.5"/></g>'
        f"{_text('36', LINE, 'here, with its 95 % interval', 'name')}"
        '<svg class="paper" x="60%" y="14" overflow="visible" width="1" height="1">'
        f'<path d="M0-6 6 0 0 6-6 0z"/></svg>{_text(64, LINE, "the paper’s models", "name")}'
    ).replace('y="14"', f'y="{y}"')


def _text(x: float | str, y: float, text: str, kind: str, more: str = "") -> str:
    """x: percent of the width, or pixels as a string."""
    place = x if isinstance(x, str) else f"{x:.2f}%"
    return f'<text class="{kind}" x="{place}" y="{y:g}"{more}>{escape(text)}</text>'

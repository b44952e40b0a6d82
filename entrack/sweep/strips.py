"""Intervals of many runs, claim by claim, as text that wraps and strips that are as wide as the
page leaves: readable on a phone, and much smaller than the same drawing with drawn letters.

Places across are shares of the width, heights are pixels. Colours are in the style sheet of the
book (`book/vendor/strips.css`), by the number of the set of runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from entrack.stats.metrics import Estimate

LIMITS = (-1.05, 1.45)
"""Where every axis begins and ends, so that drawings of one page can be held beside each other."""
TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)
MARKERS = (
    "M0-4.5 4.5 0 0 4.5-4.5 0z",  # diamond
    "M-4 0a4 4 0 1 0 8 0 4 4 0 1 0-8 0z",  # disc
    "M-4.5-3h9L0 4.5z",  # triangle on its tip
    "M-3.5-3.5h7v7h-7z",  # square
    "M-4.5 3h9L0-4.5z",  # triangle
    "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",  # cross
)
"""A shape for each set of runs, in their order, with a colour each; more of them begin again."""
STAR = "M0-6 1.4-1.9H5.7L2.2.7 3.5 4.9 0 2.3-3.5 4.9-2.2.7-5.7-1.9H-1.4z"
_STEP, _PAD = 9, 8
_TEXT_BELOW = 14


@dataclass(frozen=True)
class Row:
    """One claim.

    Attributes:
        text: the claim.
        marks: for each set of runs its number, a share or a difference of shares with its 95 %
            interval; None where the set has none.
        stars: the paper's numbers in the same unit, which have no interval; empty for none.
    """

    text: str
    marks: tuple[Estimate | None, ...]
    stars: tuple[float, ...] = ()


@dataclass(frozen=True)
class Strips:
    """A drawing of rows; the last expression of a cell shows it.

    Attributes:
        name: a word that no other drawing of the page has, for its ids.
        sets: the sets of runs, by name, in the order of the marks.
        rows: top to bottom.
        alt: what there is to see, in a sentence or two.
    """

    name: str
    sets: tuple[str, ...]
    rows: tuple[Row, ...]
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.alt}

    @property
    def html(self) -> str:
        """The drawing for a page; without rows the words alone. Every mark names its number when it
        is pointed at, and a strip all of its numbers to who does not see it.
        """
        if not self.rows:
            return f"<p>{escape(self.alt)}</p>"
        items = "".join(f"<li><p>{escape(r.text)}</p>{self._strip(r)}</li>\n" for r in self.rows)
        return (
            f'<div class="entrack-strips" role="group" aria-label="{escape(self.alt)}">\n'
            f"{self._legend()}\n{_axis()}\n<ul>\n{items}</ul>\n{_axis()}\n</div>\n"
        )

    def _shape(self, number: int | str) -> str:
        return f"{self.name}-{number}"

    def _legend(self) -> str:
        shapes = [
            (_kind(i), self._shape(i), MARKERS[i % len(MARKERS)], name)
            for i, name in enumerate(self.sets)
        ]
        if any(row.stars for row in self.rows):
            shapes.append(("star", self._shape("star"), STAR, "the paper"))
        told = [
            f'<span><svg class="{kind}" width="16" height="14" aria-hidden="true"><g'
            f' transform="translate(8 7)"><path id="{shape}" d="{path}"/></g></svg>'
            f" {escape(text)}</span>"
            for kind, shape, path, text in shapes
        ]
        return f'<p class="legend">{" ".join(told)}</p>'

    def _strip(self, row: Row) -> str:
        n = len(self.sets) + bool(row.stars)
        height = _STEP * (n - 1) + 2 * _PAD
        parts = [
            f'<line class="{"zero" if tick == 0 else "grid"}" x1="{across(tick)}"'
            f' x2="{across(tick)}" y2="100%"/>'
            for tick in TICKS
        ]
        told = []
        for i, (name, mark) in enumerate(zip(self.sets, row.marks, strict=True)):
            if mark is not None:
                told.append(f"{name}: {mark:+.2f}")
                parts.append(self._mark(i, mark, _PAD + _STEP * i, told[-1]))
        if row.stars:
            told.append("the paper: " + ", ".join(f"{star:+.2f}" for star in row.stars))
            star, y = self._shape("star"), height - _PAD
            parts += [
                f'<use class="star" href="#{star}" x="{across(x)}" y="{y}"><title>the paper:'
                f" {x:+.2f}</title></use>"
                for x in row.stars
            ]
        words = escape("; ".join(told))
        return f'<svg role="img" height="{height}" aria-label="{words}">{"".join(parts)}</svg>'

    def _mark(self, i: int, mark: Estimate, y: int, told: str) -> str:
        return (
            f'<g class="{_kind(i)}"><title>{escape(told)}</title>'
            f'<line x1="{across(mark.low)}" x2="{across(mark.high)}" y1="{y}" y2="{y}"/>'
            f'<use href="#{self._shape(i)}" x="{across(mark.value)}" y="{y}"/></g>'
        )


def fits(found: Sequence[Estimate]) -> bool:
    """Whether all intervals lie on the axis."""
    return all(LIMITS[0] <= e.low and e.high <= LIMITS[1] for e in found)


def across(value: float) -> str:
    """Where a value lies, in percent of the width."""
    return f"{100 * (value - LIMITS[0]) / (LIMITS[1] - LIMITS[0]):.1f}%"


def _kind(i: int) -> str:
    """The class that gives a set its colour."""
    return f"s{i % len(MARKERS)}"


def _axis() -> str:
    ticks = "".join(
        f'<text x="{across(tick)}" y="{_TEXT_BELOW}">{f"{tick:+g}" if tick else 0}</text>'
        for tick in TICKS
    )
    return (
        '<div class="axis"><p>share, or difference of shares</p>'
        f'<svg height="{_TEXT_BELOW + 4}" aria-hidden="true">{ticks}</svg></div>'
    )

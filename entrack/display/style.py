"""One look for every figure of the book, readable on white, on the dark theme, in print and by the
colour-blind.

Each colour has a contrast of at least 3:1 on the white and on the dark page (WCAG 2.2, 1.4.11), and
any two colours of one table stay apart under simulated protanopia, deuteranopia and tritanopia;
tests measure both. Markers repeat what the colours say. Text and axes are black here:
`display.show` turns pure black into the reader's text colour."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.colors import to_rgb

from entrack.versions.families import families, looks

GROUPS = {
    "value_fetcher": "#5949f6",
    "position_transmitter": "#9c9413",
    "position_detector": "#d929b5",
    "structure_reader": "#00a76e",
}
"""Colour of each head group: the paper's A, B, C and D, in this order."""

ROLES = {
    "last": GROUPS["value_fetcher"],
    "query_label": GROUPS["position_detector"],
    "after_prev_query_label": GROUPS["structure_reader"],
    "prev_query_label": "#0c8dff",
    "correct_object": "#e5620b",
}
"""Colour of each token role. Where a group acts it is the group's: A (and B) at the last token, C
at the query label, D at the token after the earlier label. The book's `entrack.css` repeats them as
variables, and a test compares the two."""

ROLE_LINES = {
    "last": "double",
    "query_label": "solid",
    "after_prev_query_label": "dotted",
    "prev_query_label": "dashed",
    "correct_object": "wavy",
}
"""The underline of each token role, in the words of CSS: what tells roles apart without colour."""

ROLE_WORDS = {
    "last": "last token",
    "query_label": "query label",
    "prev_query_label": "earlier label",
    "correct_object": "right object",
    "after_prev_query_label": "token after earlier label",
    "random": "random token",
    "prev_query_label+after_prev_query_label": "earlier label and token after it",
}
"""How figures, tables and prose name the token of each role."""

NEUTRAL = "#808080"
"""Reference lines: chance, a random control, a number of the paper."""

SEQUENTIAL = "cividis"
"""Colour map for a quantity that starts at zero."""

DIVERGING = "PuOr"
"""Colour map for a signed quantity; centre it on zero."""

WIDTH = 6.8
"""Width in inches of a figure that fills the text column."""

_RC = {
    "figure.figsize": (WIDTH, 3.6),
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#808080",
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "errorbar.capsize": 2.5,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
    "svg.hashsalt": "entrack",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the book's style inside a `with` block; matplotlib's own settings come back
    after it.
    """
    with mpl.rc_context(_RC):
        yield


def version_colour(name: str) -> str:
    """Colour of a version, by `version` or `family/version`: that of the family file, default
    family first.

    A version of no family (a reader's own model) gets `NEUTRAL`.
    """
    return _look(name)[0]


def version_marker(name: str) -> str:
    """Marker of a version, found like its colour; "P" for a version of no family."""
    return _look(name)[1]


def _look(name: str) -> tuple[str, str]:
    family, _, version = name.rpartition("/")
    for candidate in [family] if family in families() else families():
        if version in looks(candidate):
            return looks(candidate)[version]
    return NEUTRAL, "P"


def ink_on(colour) -> str:
    """Text colour that reads best on a filled `colour` (any matplotlib colour), such as a cell of a
    heat map.

    Off-black or off-white, never pure black: pure black follows the reader's theme and would vanish
    on a light cell."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "#111111" if luminance > 0.18 else "#fdfdfd"

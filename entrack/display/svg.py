"""A matplotlib figure as a small, deterministic SVG whose ink follows the reader's theme."""

import hashlib
import io
import re
from html import escape

from matplotlib.figure import Figure

from entrack.display.style import look

MAX_BYTES = 400_000
"""Largest SVG that a chapter may hold: a committed notebook stays below 1 MB."""

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r'((?:url\(|href=")#)([^")]+)')
_GLYPHS = re.compile(r"(<use [^>]*/>)\n(?=<use )")


def figure_svg(figure: Figure, alt: str) -> str:
    """Serialise `figure` as one line-broken `<svg>` element with `alt` as its accessible name.

    The same figure gives the same text: no date, no version, ids made from the content, coordinates
    cut to 0.01 pt. Backgrounds are transparent, and pure black becomes `currentColor`. The figure
    is left open."""
    buffer = io.StringIO()
    with look():
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            bbox_inches="tight",
            pad_inches=0.05,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(
        r' d="[^"]*"', lambda m: " " + " ".join(_NUMBER.sub(_two_decimals, m.group()).split()), text
    )
    text = re.sub(r"translate\([^)]*\)", lambda m: _NUMBER.sub(_two_decimals, m.group()), text)
    text = text.replace("#000000", "currentColor").replace("xlink:href", "href")
    return _open_tag(_own_ids(_GLYPHS.sub(r"\1", re.sub(r"\n\s*", "\n", text))), alt)


def _two_decimals(match: re.Match) -> str:
    short = f"{float(match.group()):.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def _own_ids(text: str) -> str:
    """Drop ids that nothing refers to, and number the others behind a prefix, so that figures of
    one page never clash.
    """
    used = dict.fromkeys(of for _, of in _REFERENCE.findall(text))
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8] + "-"
    new = {of: f"{prefix}{number}" for number, of in enumerate(used)}
    text = re.sub(
        r' id="([^"]+)"', lambda m: f' id="{new[m.group(1)]}"' if m.group(1) in new else "", text
    )
    return _REFERENCE.sub(lambda m: m.group(1) + new[m.group(2)], text)


def _open_tag(text: str, alt: str) -> str:
    """Replace matplotlib's fixed size by one that shrinks with the page, and name the image."""
    head, body = text.split(">", 1)
    width = float(re.search(r'width="([\d.]+)pt"', head).group(1))
    box = re.search(r'viewBox="[^"]+"', head).group()
    tag = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} '
        f'class="entrack-figure" role="img" aria-label="{escape(alt)}" fill="currentColor" '
        'stroke-linejoin="round" stroke-linecap="butt" '
        f'style="width:100%;max-width:{width * 4 / 3:.0f}px;height:auto">'
    )
    return tag + body.strip() + "\n"

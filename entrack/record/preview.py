"""The picture that stands beside a link to the book: the question, and how the claims came out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from entrack.book.pages import JudgedClaim
from entrack.display import style
from entrack.record.counts import FINDINGS
from entrack.stats.rules import VERDICTS

SIZE, DPI = (12.0, 6.3), 100  # 1200 by 630 pixels
PAPER, INK, MUTED = "#ffffff", "#14181f", "#5c5c5c"
COLOURS = dict(zip(VERDICTS, ("#12655f", "#c98a1b", "#b00d22", "#9a9a9a", "#dddddd"), strict=True))
QUESTION = "Does fine-tuning\nbuild new machinery?"
BELOW = "Entity tracking (Prakash et al., ICLR 2024), replicated on a small model"


def save_preview(claims: Sequence[JudgedClaim], path: Path) -> None:
    """Write the picture as PNG: a square for each claim about a finding, in the colour of its
    verdict. The same claims give the same bytes.
    """
    with style.look():
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor=PAPER, layout="none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1200), ylim=(630, 0))
        axes.set_axis_off()
        axes.text(60, 70, QUESTION, size=42, weight="bold", va="top", color=INK, linespacing=1.15)
        axes.text(60, 226, BELOW, size=18, va="top", color=MUTED)
        for i, (finding, title) in enumerate(FINDINGS.items()):
            top = 320 + 75 * i
            axes.text(60, top, f"({finding}) {title}", size=21, va="center", color=INK)
            mine = [str(c.record["verdict"]) for c in claims if c.record["finding"] == finding]
            for j, verdict in enumerate(sorted(mine, key=VERDICTS.index)):
                place = (500 + 27 * j, top - 11)
                axes.add_patch(Rectangle(place, 22, 22, color=COLOURS[verdict], lw=0))
        counts = Counter(str(c.record["verdict"]) for c in claims if c.record["finding"])
        left = 60
        for verdict in filter(counts.get, VERDICTS):
            axes.add_patch(Rectangle((left, 560), 22, 22, color=COLOURS[verdict], lw=0))
            words = f"{counts[verdict]} {_WORDS[verdict]}"
            axes.text(left + 32, 571, words, size=17, va="center", color=INK)
            left += 62 + 11.5 * len(words)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


_WORDS = dict(
    zip(
        VERDICTS,
        ("replicate or hold", "in part", "do not", "undecided", "not run"),
        strict=True,
    )
)

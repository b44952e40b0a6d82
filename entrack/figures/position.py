"""Figures of what a patched model answers, and of what counts as position. Nothing is computed
here.

Each figure tells in words what is to be seen. Intervals are 95 %.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from entrack.circuit.wordings import Wording
from entrack.display import style
from entrack.display.cells import Picture
from entrack.sites import GROUPS

CANDIDATES = {
    "object": "#1d788d",
    "position": "#cb6b07",
    "label": "#df399e",
    "unchanged": "#6c7c64",
    "other": "#909090",
    "ordinal": "#cb6b07",
    "token_from_start": "#4c64f5",
    "token_from_end": "#9c9413",
    "next_position": "#cc1228",
    "unshifted": "#4c64f5",
}
"""Colour of each idea of what is carried. "other" is a remainder: a dotted line, an empty bar."""
CANDIDATE_MARKERS = {
    "object": "s",
    "position": "o",
    "label": "^",
    "unchanged": "x",
    "ordinal": "o",
    "token_from_start": "<",
    "token_from_end": ">",
}
CANDIDATE_WORDS = {
    "ordinal": "order of boxes",
    "token_from_start": "tokens from the start",
    "token_from_end": "tokens from the end",
    "label": "label",
    "next_position": "next position",
    "unshifted": "position, not shifted",
}
LABELLED = 0.095
"""Smallest share whose number fits into its part of a bar."""


def answer_shares(rows: Mapping[str, Mapping[str, float]]) -> Picture:
    """One stacked bar per row: the share of answers that each candidate explains."""
    names = sorted(
        dict.fromkeys(name for shares in rows.values() for name in shares),
        key=lambda name: name == "other",
    )
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.4 * len(rows) + 1.0))
        for place, shares in enumerate(rows.values()):
            left = 0.0
            for name in names:
                share = shares.get(name, 0.0)
                axes.barh(place, share, left=left, height=0.7, **_filling(name))
                if share >= LABELLED:
                    ink = "black" if name == "other" else style.ink_on(CANDIDATES[name])
                    axes.text(
                        left + share / 2,
                        place,
                        f"{share:.2f}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color=ink,
                    )
                left += share
        axes.set(
            yticks=range(len(rows)),
            yticklabels=[fill(row, 26) for row in rows],
            xlim=(0, 1),
            xlabel="share of answers",
        )
        axes.grid(visible=False)
        axes.invert_yaxis()
        figure.legend(
            handles=[
                plt.Rectangle((0, 0), 1, 1, label=CANDIDATE_WORDS.get(n, n), **_filling(n))
                for n in names
            ],
            loc="outside upper left",
            ncols=len(names) if len(names) < 6 else 4,
            columnspacing=1.0,
        )
    told = "; ".join(
        f"{row}: "
        + ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share >= LABELLED)
        for row, shares in rows.items()
    )
    return Picture(figure, f"What the patched model answers. {told}.")


def _filling(name: str) -> dict:
    """A full part of a bar; the remainder's is empty, so that it recedes on any page."""
    return (
        {"facecolor": "none", "edgecolor": CANDIDATES[name], "lw": 0.8}
        if name == "other"
        else {"color": CANDIDATES[name], "lw": 0}
    )


def variation_scores(
    wordings: Sequence[Wording], group: str, *, paper: Mapping[str, float], floor: float
) -> Picture:
    """One row per wording of the source: score above floor with its interval, and the paper's.

    Args:
        group: whose heads were patched.
        paper: wording -> Llama's score above floor.
        floor: Llama's floor, for the legend.
    """
    ordered = sorted(wordings, key=lambda w: w.above(group).value)
    version = ordered[0].patched.model
    ours = {"color": style.version_colour(version), "marker": style.version_marker(version)}
    theirs = {"color": style.NEUTRAL, "marker": "D", "mfc": "none", "mew": 1.6, "ls": "none"}
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.3 * len(ordered) + 0.9))
        for place, wording in enumerate(ordered):
            e = wording.above(group)
            ends = [[e.value - e.low], [e.high - e.value]]
            axes.errorbar(e.value, place, xerr=ends, ls="none", **ours)
            if wording.name in paper:
                axes.plot(paper[wording.name], place, **theirs)
        axes.axvline(0, color="black", lw=0.8)
        axes.set(
            yticks=range(len(ordered)),
            yticklabels=[wording.title for wording in ordered],
            xlabel="position score above floor",
        )
        figure.legend(
            handles=[
                Line2D([], [], ls="none", label=f"{version}, here", **ours),
                Line2D([], [], label=f"Llama-7B (less its floor, {floor:.2f})", **theirs),
            ],
            loc="outside upper left",
            ncols=2,
        )
    told = ", ".join(f"{w.title} {w.above(group).value:+.2f}" for w in reversed(ordered))
    return Picture(figure, f"Position score above floor by wording of the source: {told}.")


def answers_by_group(wordings: Mapping[str, Wording]) -> Picture:
    """Bars of every answer, for each group patched and for nothing patched, source by source.

    `wordings`: what the rows are called -> answers.
    """
    rows = {}
    for name, wording in wordings.items():
        for group in wording.groups:
            rows[f"{GROUPS[group].letter}, {name}"] = wording.patched.shares(group)
        rows[f"unpatched, {name}"] = wording.patched.shares(None)
    return answer_shares(rows)

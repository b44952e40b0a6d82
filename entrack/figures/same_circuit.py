"""Figures and tables of one circuit in many versions: its accuracy in each, shared heads, pruning,
completeness.

They show what results hold; nothing is computed here. Intervals are 95 %.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from entrack.circuit.completeness import Completeness
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.minimality import Minimality
from entrack.circuit.overlap import Overlap
from entrack.display import style
from entrack.display.cells import Picture
from entrack.figures.circuit import NARROW
from entrack.paper import published
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, difference, rate

Row = list[object]
KINDS = {
    "group": ("s", style.GROUPS["structure_reader"]),
    "random": ("o", style.NEUTRAL),
    "greedy": ("^", style.GROUPS["position_detector"]),
}
"""Marker and colour of each kind of K."""
PRUNED = {
    "both_at_1_percent": "both pruned at 1 %",
    "candidates": "neither pruned",
    "both_at_0_percent": "both pruned at 0 %",
}
PAIRS = {"llama_goat": "Llama and Goat", "llama_float": "Llama and FLoat"}


def faithfulness_rows(scores: Mapping[str, Faithfulness]) -> list[Row]:
    """The paper's Table 1: a row per version with the accuracy of the whole, of the first circuit
    alone and of random circuits, and faithfulness.
    """
    rows = []
    for name, score in scores.items():
        share = score.faithfulness() if score.full.any() else "undefined"
        accuracies = [score.full_accuracy(), score.accuracy(), score.random_accuracy()]
        rows.append([name, *accuracies, share])
    return rows


def gap_rows(scores: Mapping[str, Faithfulness], *, base: str) -> list[Row]:
    """A row per version: accuracy of the first circuit less that of the whole, with the p-value of
    no difference, and less that of the same circuit in `base`, all on the same prompts.
    """
    rows = []
    for name, score in scores.items():
        gap = difference(score.hits[0], score.full)
        change = "-" if name == base else difference(score.hits[0], scores[base].hits[0])
        rows.append([name, gap, f"{gap.p_value:.2g}", change])
    return rows


def published_table1_rows() -> list[Row]:
    """The paper's own Table 1."""
    titles = _titles()
    return [[titles[name], *row] for name, row in published.table1().values.items()]


def published_cross_rows() -> list[Row]:
    """Accuracy of the paper's circuits in its four models, as far as released."""
    titles = {**_titles(), "llama_enlarged_175": "Llama-7B, enlarged to 175 heads"}
    return [
        [titles[circuit], *(row[m][0] if m in row else "not released" for m in _titles())]
        for circuit, row in published.cross_evaluation().values.items()
    ]


def cross_grid(scores: Mapping[str, Faithfulness], *, owners: Sequence[str]) -> Picture:
    """Accuracy of every circuit alone (rows, by the version it was searched in) in every version
    (columns), as a heat map with its numbers; last row: the whole version.

    Args:
        scores: version -> the same circuits scored in it.
        owners: the version that each circuit was searched in, in the order of the scores.
    """
    columns = list(scores)
    circuits = scores[columns[0]].circuits
    rows = [f"{o} ({c.size})" for o, c in zip(owners, circuits, strict=True)] + ["whole version"]
    grid = np.array(
        [[score.accuracy(i).value for score in scores.values()] for i in range(len(circuits))]
        + [[score.full_accuracy().value for score in scores.values()]]
    )
    with style.look():
        figure, axes = plt.subplots(figsize=(NARROW, 0.5 * len(rows) + 1.5))
        image = axes.imshow(grid, vmin=0, vmax=1, aspect="auto", cmap=style.SEQUENTIAL)
        colours = image.cmap(image.norm(grid))
        for place, value in np.ndenumerate(grid):
            ink = style.ink_on(colours[place])
            axes.text(*place[::-1], f"{value:.2f}", ha="center", va="center", color=ink)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel="run in version", ylabel="circuit (heads)")
        axes.grid(False)
    told = [
        f"{owner}'s circuit, {values.min():.2f} to {values.max():.2f}"
        for owner, values in zip(owners, grid, strict=False)
    ]
    alt = (
        f"Accuracy alone, over the versions: {'; '.join(told)}. The whole versions reach"
        f" {grid[-1].min():.2f} to {grid[-1].max():.2f}."
    )
    return Picture(figure, alt)


def own_circuit_rows(scores: Mapping[str, Faithfulness], *, owners: Sequence[str]) -> list[Row]:
    """Per version whose own circuit was searched: the accuracy there of its own circuit and of the
    first one, and their paired difference.
    """
    return [
        [
            owner,
            scores[owner].accuracy(i),
            scores[owner].accuracy(0),
            difference(scores[owner].hits[i], scores[owner].hits[0]),
        ]
        for i, owner in enumerate(owners)
        if i
    ]


def overlap_rows(
    counts: Sequence[Overlap], correlations: Mapping[str, Estimate | None], *, version: str
) -> list[Row]:
    """A row per group: heads in either circuit, shared, by chance, p and the rank correlation of
    the score maps (`correlations`, by group; None where too few heads have a score).
    """
    rows = []
    for o in counts:
        group, correlation = GROUPS[o.group], correlations[o.group]
        told = "too few heads" if correlation is None else correlation.value
        name = f"{version}: {group.letter} {group.title}"
        rows.append([name, o.first, o.second, o.shared, o.by_chance, f"{o.p_value:.1g}", told])
    return rows


def published_overlap_rows() -> list[Row]:
    """Heads that the 7B circuits share, by how both were pruned."""
    return [
        [f"{PAIRS[pair]}, {PRUNED[pruning]}", *groups["all"]]
        for pruning, by_pair in published.overlap_by_threshold().values.items()
        for pair, groups in by_pair.items()
    ]


def minimality_bars(minimality: Minimality) -> Picture:
    """Score of every candidate head by group, with the threshold; bars above 1 are cut off."""
    told = []
    with style.look():
        figure, rows = plt.subplots(4, 1, figsize=(NARROW, 7.6))
        for axes, (name, group) in zip(rows, GROUPS.items(), strict=True):
            scores = sorted(minimality.scores[name].items(), key=lambda item: -item[1])
            heights = np.minimum([s for _, s in scores], 1.0)
            kept = np.array([s >= minimality.threshold for _, s in scores])
            colours = np.where(kept, style.GROUPS[name], style.NEUTRAL)
            axes.bar(range(len(scores)), heights, color=colours)
            axes.axhline(minimality.threshold, color="black", lw=0.8, ls=":")
            told.append(f"{kept.sum()} of {len(scores)} in {group.letter}")
            title = f"{group.letter} {group.title}: {kept.sum()} of {len(scores)} kept"
            axes.set(title=title, ylabel="score")
            axes.set_xticks(range(len(scores)), [h for h, _ in scores], rotation=90, fontsize=9)
            axes.grid(axis="x", visible=False)
    alt = (
        f"Heads whose minimality score reaches {minimality.threshold:.0%}, and which are kept:"
        f" {', '.join(told)}."
    )
    return Picture(figure, alt)


def minimality_rows(minimality: Minimality) -> list[Row]:
    """Per group: candidates, those kept by the score, those kept by leave-one-out (the interval of
    the answer's log probability lies above 0), and those kept by both.
    """
    rows = []
    for name, group in GROUPS.items():
        heads = minimality.circuit.groups[name]
        kept = set(minimality.pruned().groups[name])
        plain = {h for h in heads if minimality.leave_one_out(name, h).low > 0}
        counts = [len(heads), len(kept), len(plain), len(kept & plain)]
        rows.append([f"{group.letter} {group.title}", *counts])
    return rows


def completeness_scatter(completeness: Completeness) -> Picture:
    """F(C without K) against F(M without K) for every K; on the diagonal the circuit is
    complete.
    """
    points = [
        (rate(m).value, rate(c).value)
        for m, c in zip(completeness.model_hits, completeness.circuit_hits, strict=True)
    ]
    with style.look():
        figure, axes = plt.subplots(figsize=(4.6, 4.4))
        axes.plot([0, 1], [0, 1], color=style.NEUTRAL, ls="--")
        for kind, (marker, colour) in KINDS.items():
            found = [points[i] for i in completeness.of(kind)]
            axes.plot(
                *zip(*found, strict=True), ls="", marker=marker, color=colour, label=f"{kind} K"
            )
        for i in completeness.of("group"):
            place = _free_corner(points[i], points)
            letter = completeness.labels[i][-1]
            axes.text(*place, letter, ha="center", va="center", fontsize=9)
        axes.set(
            xlabel="model without K: accuracy",
            ylabel="circuit without K: accuracy",
            xlim=(-0.03, 1),
            ylim=(-0.03, 1),
        )
        axes.legend(loc="upper left")
    label, gap = completeness.widest("group")
    alt = (
        f"Accuracy of the circuit against that of the model, both without heads K. Of the whole"
        f" groups, the widest gap is {gap.value:+.2f} ({label})."
    )
    return Picture(figure, alt)


def completeness_rows(completeness: Completeness) -> list[Row]:
    """A row per group and greedy K: its size, the accuracies of circuit and model without it, and
    the gap; then the means over the random K, and the paper's groups.
    """
    rows: list[Row] = []
    for i in [*completeness.of("group"), *completeness.of("greedy")]:
        hits = completeness.circuit_hits[i], completeness.model_hits[i]
        size, label = completeness.removed[i].size, completeness.labels[i]
        rows.append([label, size, *(rate(h).value for h in hits), completeness.gap(i)])
    drawn = completeness.of("random")
    hits = completeness.circuit_hits[drawn], completeness.model_hits[drawn]
    spread = f"mean gap {completeness.mean_gap('random'):.2f}"
    rows.append(["random, mean", "half", *(float(h.mean()) for h in hits), spread])
    heads = published.circuits().values["llama"]
    for name, k in published.completeness().values["llama"].groups.items():
        label = f"{_titles()['llama']} group {GROUPS[name].letter}"
        rows.append([label, len(heads[name]), *k, f"{k.circuit - k.model:+.2f}"])
    return rows


def grown_rows(rest: Faithfulness, labels: Sequence[str]) -> list[Row]:
    """Per circuit and for the whole model: accuracy, and how much more than the first circuit's,
    on the same prompts.
    """
    names, hits = [*labels, "whole model"], [*rest.hits, rest.full]
    return [
        [name, rate(row), difference(row, hits[0])] for name, row in zip(names, hits, strict=True)
    ]


def _titles() -> dict[str, str]:
    return {name: entry["title"] for name, entry in published.models().values.items()}


def _free_corner(
    point: tuple[float, float], points: Sequence[tuple[float, float]], *, away: float = 0.034
) -> tuple[float, float]:
    """The place beside a point, at one of its corners, that is farthest from all points and from
    the diagonal.
    """
    taken = np.array([*points, *((x, x) for x in np.linspace(0, 1, 101))])
    corners = [(point[0] + dx, point[1] + dy) for dx in (away, -away) for dy in (away, -away)]
    return max(corners, key=lambda corner: np.hypot(*(taken - corner).T).min())

"""Figures of one circuit in many versions: its accuracy in each, shared heads, pruning,
completeness.

They show what results hold; nothing is computed here. Intervals are 95 %.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entrack.circuit.completeness import Completeness
from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.minimality import Minimality
from entrack.circuit.overlap import STRONGEST
from entrack.display import style
from entrack.display.cells import Picture
from entrack.figures.circuit import NARROW
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import rate

KINDS = {
    "group": ("s", style.GROUPS["structure_reader"]),
    "random": ("o", style.NEUTRAL),
    "greedy": ("^", style.GROUPS["position_detector"]),
}
"""Marker and colour of each kind of K."""

SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Where a name can stand, seen from its point: right or left, above or below."""
LONG = 10
"""Characters from which on a name under a column takes two lines."""


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
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.5 * len(rows) + 1.5))
        image = axes.imshow(grid, vmin=0, vmax=1, aspect="auto", cmap=style.SEQUENTIAL)
        colours = image.cmap(image.norm(grid))
        for place, value in np.ndenumerate(grid):
            ink = style.ink_on(colours[place])
            axes.text(*place[::-1], f"{value:.2f}", ha="center", va="center", color=ink)
        axes.set_xticks(range(len(columns)), [_broken(c) for c in columns])
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


def _broken(name: str) -> str:
    """A name of two parts, or a long one such as that of another family's version, on two lines: it
    breaks behind its first comma or, where it has none, its first hyphen.
    """
    if ", " in name:
        return name.replace(", ", ",\n", 1)
    return name.replace("-", "-\n", 1) if len(name) > LONG else name


def minimality_bars(minimality: Minimality) -> Picture:
    """Score of every candidate head by group, with the threshold; bars above 1 are cut off."""
    told = []
    with style.look():
        figure, rows = plt.subplots(4, 1, figsize=(style.WIDTH, 7.6))
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


def _free_corner(
    point: tuple[float, float], points: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """The place beside a point, at one of its corners, that is farthest from all points and from
    the diagonal.
    """
    away = 0.034
    taken = np.array([*points, *((x, x) for x in np.linspace(0, 1, 101))])
    corners = [(point[0] + dx, point[1] + dy) for dx in (away, -away) for dy in (away, -away)]
    return max(corners, key=lambda corner: np.hypot(*(taken - corner).T).min())


def effects_in_two(first: Discovery, second: Discovery, *, names: tuple[str, str]) -> Picture:
    """A panel per group: the mean effect of every head with a path in both, in the first model (x)
    and in the second (y); the strongest of either are dark, the first two of each named.
    """
    told, to_name = [], []
    with style.look():
        figure, panels = plt.subplots(2, 2, figsize=(NARROW, NARROW))
        for axes, (name, group) in zip(panels.flat, GROUPS.items(), strict=True):
            maps = [found.scores[name] for found in (first, second)]
            grids = [scores.grid() for scores in maps]
            reached = np.isfinite(grids[0]) & np.isfinite(grids[1])
            x, y = (grid[reached] for grid in grids)
            axes.plot(x, y, ".", color=style.NEUTRAL, alpha=0.6)
            top = [scores.ranked()[:STRONGEST] for scores in maps]
            places = {
                head: tuple(float(grid[head.layer, head.head]) for grid in grids)
                for head in sorted({*top[0], *top[1]})
                if reached[head.layer, head.head]
            }
            for place in places.values():
                axes.plot(*place, "o", color=style.GROUPS[name])
            low = float(min(x.min(), y.min(), 0)) if len(x) else -1.0
            axes.plot([low, 0], [low, 0], color="black", lw=0.8, ls=":")
            axes.margins(0.1)
            named = (*top[0][:2], *top[1][:2])  # more names would lie on each other
            to_name.append((axes, {h: places[h] for h in places if h in named}, np.c_[x, y]))
            axes.set(title=f"{group.letter} {group.title}", xlabel=names[0], ylabel=names[1])
            shared = len(set(top[0]) & set(top[1]))
            told.append(f"{group.letter} {shared}")
        figure.draw_without_rendering()  # where points lie is known once the panels have sizes
        for panel in to_name:
            _name_points(*panel)
    alt = (
        f"Effect of every head in {names[0]} and in {names[1]}, a panel per group. Of the"
        f" {STRONGEST} strongest heads in each, both have: {', '.join(told)}."
    )
    return Picture(figure, alt)


def _name_points(
    axes: Axes, places: Mapping[Head, tuple[float, float]], points: np.ndarray
) -> None:
    """Write each head's name beside its place, inside the panel and on the side with the fewest
    points and names.

    points: what is drawn, x and y [point 2].
    """
    size, apart = np.array([30, 12]), np.array([5, 2])  # of a name, and to its place, in points
    per_pixel = 72 / axes.figure.dpi
    panel = axes.get_window_extent().get_points() * per_pixel
    taken = axes.transData.transform(points) * per_pixel
    for head, place in places.items():
        here = axes.transData.transform(place) * per_pixel
        others = taken[(taken != here).any(1)]
        costs = {}
        for side in SIDES:
            middle = here + np.array(side) * (apart + size / 2)
            outside = (np.abs(middle - panel.mean(0)) + size / 2 > np.ptp(panel, 0) / 2).any()
            covered = (np.abs(others - middle) < size / 2 + 3).all(1).sum()
            costs[side] = covered + 100 * outside
        side = min(costs, key=costs.get)
        axes.annotate(
            str(head),
            place,
            xytext=tuple(side * apart),
            textcoords="offset points",
            ha="left" if side[0] > 0 else "right",
            va="bottom" if side[1] > 0 else "top",
        )
        # The next name must not lie on this one.
        middle = here + np.array(side) * (apart + size / 2)
        taken = np.concatenate(
            [taken, [middle, middle - (size[0] / 2, 0), middle + (size[0] / 2, 0)]]
        )

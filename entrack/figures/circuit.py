"""Figures of the circuit: score maps, accuracy against size, the circuit over the prompt, depth,
attention.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import SizeCurve
from entrack.circuits import Circuit
from entrack.display import style
from entrack.display.cells import LiveFigure
from entrack.model.sites import GROUPS
from entrack.stats.metrics import rate

NARROW = 5.4
"""Width in inches of a figure whose text must stay readable when a phone shrinks it."""


def score_maps(discovery: Discovery) -> LiveFigure:
    """Four live heat maps, layers across and heads down; hover reads the head and its mean
    effect.
    """
    panels, layout = (
        [],
        {"height": 760, "margin": {"l": 60, "r": 10, "t": 30, "b": 45}, "annotations": []},
    )
    for index, (name, group) in enumerate(GROUPS.items()):
        grid = discovery.scores[name].grid()
        bound = float(np.nanmax(np.abs(grid)))
        suffix = "" if index == 0 else str(index + 1)
        top, bottom = 0.98 - index * 0.268, 0.98 - index * 0.268 - 0.175
        panels.append(
            {
                "type": "heatmap",
                "z": [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in grid.T],
                "x": list(range(grid.shape[0])),
                "y": list(range(grid.shape[1])),
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "zmin": -bound,
                "zmax": bound,
                "colorscale": _plotly_scale(style.DIVERGING),
                "name": f"{group.letter} {group.title}",
                "hovertemplate": "head %{x}.%{y}<br>effect %{z:.3f}<extra></extra>",
                "hoverongaps": False,
                "colorbar": {
                    "len": 0.175,
                    "y": (top + bottom) / 2,
                    "thickness": 10,
                    "tickformat": ".2f",
                },
            }
        )
        layout[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "title": {"text": "layer"} if index == 3 else None,
            "dtick": 5,
        }
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "domain": [bottom, top],
            "title": {"text": "head"},
            "dtick": 2,
        }
        projection = {"q": "queries", "k": "keys", "v": "values"}.get(
            str(group.composition).lower(), group.composition
        )
        target = (
            "the logits"
            if group.receivers is None
            else (
                f"{projection} of {len(discovery.receivers[name])} {GROUPS[group.receivers].letter}"
                " heads"
            )
        )
        layout["annotations"].append(
            {
                "text": f"{group.letter} {group.title} → {target}",
                "x": 0,
                "y": top + 0.006,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    strongest = {g.letter: discovery.scores[n].ranked()[0] for n, g in GROUPS.items()}
    listed = ", ".join(f"{letter} head {head}" for letter, head in strongest.items())
    return LiveFigure(
        {"data": panels, "layout": layout},
        alt=(
            "Four heat maps of the effect of every head by layer. A few heads stand out in each;"
            f" the strongest are {listed}."
        ),
    )


def _plotly_scale(name: str) -> list[list]:
    """A colour map of matplotlib as plotly takes it; plotly falls back to its default for names
    that it does not know.
    """
    colours = colormaps[name](np.linspace(0, 1, 11))
    return [[round(i / 10, 1), to_hex(colour)] for i, colour in enumerate(colours)]


def size_curve(curve: SizeCurve) -> Figure:
    """Accuracy of the candidate circuits against their size, with the whole model and the chosen
    one.
    """
    sizes = [c.size for c in curve.scores.circuits]
    estimates = [curve.scores.accuracy(i) for i in range(len(sizes))]
    with style.look():
        figure, axes = plt.subplots(figsize=(NARROW, 3.4))
        whole = curve.scores.full_accuracy()
        axes.axhspan(whole.low, whole.high, color=style.NEUTRAL, alpha=0.2, lw=0)
        axes.axhline(
            whole.value, color=style.NEUTRAL, ls="--", label="whole model, with its 95 % interval"
        )
        _with_intervals(
            axes,
            sizes,
            estimates,
            color=style.version_colour("base"),
            marker="o",
            label="candidate circuit alone",
        )
        axes.plot(
            sizes[curve.chosen],
            estimates[curve.chosen].value,
            "o",
            ms=12,
            mfc="none",
            mec="black",
            label="chosen",
        )
        axes.set(xlabel="heads in the circuit", ylabel="accuracy", ylim=(0, 1))
        axes.legend(loc="lower right")
    return figure


def circuit_graph(circuit: Circuit, discovery: Discovery, *, n_layers: int) -> Figure:
    """The circuit over the prompt: where each group acts, in which layers, and what it passes
    on.
    """
    words = ["…", "the", "apple", "is", "in", "Box", "F", ",", "…", "Box", "F", "contains", "the"]
    places = {
        "correct_object": 2,
        "prev_query_label": 6,
        "after_prev_query_label": 7,
        "query_label": 10,
        "last": 12,
    }
    shift = {"value_fetcher": 0.22, "position_transmitter": -0.22}
    with style.look():
        figure, axes = plt.subplots(figsize=(NARROW, 5.2))
        middle = {}
        for name in GROUPS:
            heads = circuit.groups[name]
            if not heads:
                continue
            x = places[circuit.role(name)] + shift.get(name, 0)
            effects = np.array([-discovery.scores[name].grid()[h.layer, h.head] for h in heads])
            sizes = 25 + 220 * effects / effects.max()
            axes.scatter(
                [x + 0.12 * ((i % 3) - 1) for i in range(len(heads))],
                [h.layer for h in heads],
                s=sizes,
                color=style.GROUPS[name],
                alpha=0.85,
                edgecolor="white",
                lw=0.6,
                zorder=3,
            )
            middle[name] = (x, float(np.average([h.layer for h in heads], weights=effects)))
        for name, group in GROUPS.items():
            if name in middle:
                target = (
                    (places["last"] + 0.22, n_layers + 1.2)
                    if group.receivers is None
                    else middle.get(group.receivers)
                )
                if target:
                    axes.annotate(
                        "",
                        xy=target,
                        xytext=middle[name],
                        zorder=4,
                        arrowprops={
                            "arrowstyle": "-|>",
                            "lw": 2,
                            "color": "black",
                            "shrinkA": 7,
                            "shrinkB": 7,
                            "connectionstyle": "arc3,rad=-0.15",
                        },
                    )
        for name, role in (
            ("value_fetcher", "correct_object"),
            ("position_transmitter", "query_label"),
            ("position_detector", circuit.structure_role),
        ):
            if name in middle:
                axes.plot(
                    [places[role], middle[name][0]],
                    [-0.8, middle[name][1]],
                    ls=":",
                    lw=1.3,
                    color=style.GROUPS[name],
                    zorder=2,
                )
        axes.text(
            places["last"] + 0.22,
            n_layers + 1.6,
            "“apple”",
            ha="center",
            va="bottom",
            weight="bold",
        )
        axes.set_xticks(range(len(words)), words, rotation=60)
        for place in places.values():
            axes.axvline(place, color=style.NEUTRAL, lw=0.6, alpha=0.5, zorder=1)
            axes.get_xticklabels()[place].set_weight("bold")
        axes.set(ylabel="layer", ylim=(-1.2, n_layers + 3.4), xlim=(-0.6, len(words) - 0.2))
        axes.grid(False)
        handles = [
            Line2D(
                [],
                [],
                ls="",
                marker="o",
                color=style.GROUPS[n],
                label=f"{g.letter} {g.title} ({len(circuit.groups[n])})",
            )
            for n, g in GROUPS.items()
        ]
        handles += [
            Line2D([], [], color="black", label="passes on to"),
            Line2D([], [], ls=":", color=style.NEUTRAL, label="should attend to"),
        ]
        axes.legend(handles=handles, loc="upper left")
    return figure


def depths(circuits: Mapping[str, tuple[Mapping[str, Sequence], int]]) -> Figure:
    """Relative depth of every head by group, one row per model; `circuits` is name -> (group ->
    layers, number of layers).
    """
    with style.look():
        figure, rows = plt.subplots(
            len(circuits),
            1,
            sharex=True,
            figsize=(NARROW, 1.7 * len(circuits) + 0.4),
            squeeze=False,
        )
        for axes, (model, (groups, n_layers)) in zip(rows[:, 0], circuits.items(), strict=True):
            for place, name in enumerate(GROUPS):
                at = np.array(groups[name]) / (n_layers - 1)
                spread = np.linspace(-0.25, 0.25, len(at)) if len(at) > 1 else np.zeros(len(at))
                axes.plot(at, place + spread, "o", color=style.GROUPS[name], alpha=0.8)
                if len(at):
                    axes.plot(
                        [np.median(at)] * 2, [place - 0.38, place + 0.38], color="black", lw=2
                    )
            axes.set(
                yticks=range(4),
                yticklabels=[g.letter for g in GROUPS.values()],
                title=model,
                xlim=(-0.02, 1.02),
                ylim=(3.5, -0.5),
            )
        axes.set_xlabel("relative depth (0 = first layer, 1 = last); bar: median")
    return figure


def attention_masses(masses: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean attention of one head per group on named places; `masses` is "B head 19.1" -> place ->
    share.
    """
    with style.look():
        places = list(dict.fromkeys(p for row in masses.values() for p in row))
        grid = np.array([[row.get(p, np.nan) for p in places] for row in masses.values()])
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.55 * len(masses) + 1.6))
        image = axes.imshow(grid, vmin=0, vmax=1, aspect="auto", cmap=style.SEQUENTIAL)
        colours = image.cmap(image.norm(grid))
        for (row, column), value in np.ndenumerate(grid):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=9,
                color=style.ink_on(colours[row, column]),
            )
        axes.set_xticks(range(len(places)), places, rotation=25, ha="right")
        axes.set_yticks(range(len(masses)), list(masses))
        axes.grid(False)
    return figure


def _with_intervals(axes, x, estimates, **options) -> None:
    values = np.array([e.value for e in estimates])
    errors = [values - [e.low for e in estimates], [e.high for e in estimates] - values]
    axes.errorbar(x, values, yerr=errors, **options)


def minimality_bars(minimality) -> Figure:
    """Score of every candidate head by group, with the threshold; bars above 1 are cut off."""
    with style.look():
        figure, rows = plt.subplots(4, 1, figsize=(NARROW, 7.6))
        for axes, (name, group) in zip(rows, GROUPS.items(), strict=True):
            scores = sorted(minimality.scores[name].items(), key=lambda item: -item[1])
            heights = np.minimum([s for _, s in scores], 1.0)
            kept = np.array([s >= minimality.threshold for _, s in scores])
            axes.bar(
                range(len(scores)), heights, color=np.where(kept, style.GROUPS[name], style.NEUTRAL)
            )
            axes.axhline(minimality.threshold, color="black", lw=0.8, ls=":")
            axes.set(
                title=f"{group.letter} {group.title}: {kept.sum()} of {len(scores)} kept",
                ylabel="score",
            )
            axes.set_xticks(range(len(scores)), [h for h, _ in scores], rotation=90, fontsize=9)
            axes.grid(axis="x", visible=False)
    return figure


def completeness_scatter(completeness) -> Figure:
    """F(C without K) against F(M without K) for every K; on the diagonal the circuit is
    complete.
    """
    kinds = {
        "group": ("s", style.version_colour("code")),
        "random": ("o", style.version_colour("raw")),
        "greedy": ("^", style.version_colour("boxes")),
    }
    with style.look():
        figure, axes = plt.subplots(figsize=(4.6, 4.4))
        axes.plot([0, 1], [0, 1], color=style.NEUTRAL, ls="--")
        for kind, (marker, colour) in kinds.items():
            chosen = [i for i, label in enumerate(completeness.labels) if label.startswith(kind)]
            model = [rate(completeness.model_hits[i]).value for i in chosen]
            circuit = [rate(completeness.circuit_hits[i]).value for i in chosen]
            axes.plot(model, circuit, ls="", marker=marker, color=colour, label=f"{kind} K")
        points = [
            (rate(m).value, rate(c).value)
            for m, c in zip(completeness.model_hits, completeness.circuit_hits, strict=True)
        ]
        for label, point in zip(completeness.labels, points, strict=True):
            if label.startswith("group"):
                axes.text(
                    *_free_corner(point, points), label[-1], ha="center", va="center", fontsize=9
                )
        axes.set(
            xlabel="model without K: accuracy",
            ylabel="circuit without K: accuracy",
            xlim=(-0.03, 1),
            ylim=(-0.03, 1),
        )
        axes.legend(loc="upper left")
    return figure


def _free_corner(
    point: tuple[float, float], points: Sequence[tuple[float, float]], *, away: float = 0.034
) -> tuple[float, float]:
    """The place beside a point, at one of its corners, that is farthest from all points and from
    the diagonal.
    """
    taken = np.array([*points, *((x, x) for x in np.linspace(0, 1, 101))])
    corners = [(point[0] + dx, point[1] + dy) for dx in (away, -away) for dy in (away, -away)]
    return max(corners, key=lambda corner: np.hypot(*(taken - corner).T).min())


def cross_grid(
    grid: np.ndarray, *, rows: Sequence[str], columns: Sequence[str], label: str
) -> Figure:
    """A table as a heat map with its numbers: circuits down, versions across."""
    with style.look():
        figure, axes = plt.subplots(figsize=(NARROW, 0.5 * len(rows) + 1.5))
        image = axes.imshow(
            grid,
            vmin=0,
            vmax=max(1.0, float(np.nanmax(grid))),
            aspect="auto",
            cmap=style.SEQUENTIAL,
        )
        colours = image.cmap(image.norm(grid))
        for (row, column), value in np.ndenumerate(grid):
            axes.text(
                column,
                row,
                "–" if np.isnan(value) else f"{value:.2f}",
                ha="center",
                va="center",
                color=style.ink_on(colours[row, column]),
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel="run in version", ylabel=label)
        axes.grid(False)
    return figure

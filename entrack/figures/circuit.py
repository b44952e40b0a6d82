"""Figures of the search for a circuit: score maps, accuracy against size, the circuit over the
prompt, depth, attention. They draw; nothing is computed here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import SizeCurve
from entrack.circuit.search import HeadAttention
from entrack.circuits import Circuit, reads_from
from entrack.display import style
from entrack.display.cells import LiveFigure, Picture
from entrack.display.style import ROLE_WORDS
from entrack.errors import SiteError
from entrack.sites import GROUPS

NARROW = 5.4
"""Width in inches of a figure whose text must stay readable when a phone shrinks it."""
PATHS = {"logits": "the logits", "q": "queries of {} heads", "v": "values of {} heads"}
"""What a stage measures, by its composition; the receivers' number and letter stand in it."""


def score_maps(discovery: Discovery) -> LiveFigure:
    """Four live heat maps, one per stage: layers across, heads down, the mean effect by colour."""
    panels, notes = [], []
    layout = {"height": 760, "margin": {"l": 60, "r": 10, "t": 30, "b": 45}, "annotations": notes}
    for index, (name, group) in enumerate(GROUPS.items()):
        suffix = "" if index == 0 else str(index + 1)
        top = 0.98 - index * 0.268
        domain = [top - 0.175, top]
        panels.append(_heat_map(discovery.scores[name].grid(), suffix, domain))
        last = index == len(GROUPS) - 1
        layout[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "title": {"text": "layer"} if last else None,
            "dtick": 5,
        }
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "domain": domain,
            "title": {"text": "head"},
            "dtick": 2,
        }
        panels[-1]["name"] = f"{group.letter} {group.title}"
        notes.append(_heading(f"{group.letter} {group.title} → {target(discovery, name)}", top))
    strongest = ", ".join(
        f"{group.letter} head {discovery.scores[name].ranked()[0]}"
        for name, group in GROUPS.items()
    )
    return LiveFigure(
        {"data": panels, "layout": layout},
        alt=(
            f"The strongest head of each stage: {strongest}. Four heat maps of the effect of every"
            " head by layer."
        ),
    )


def target(discovery: Discovery, group: str) -> str:
    """What a stage measures in words, such as "values of 2 B heads"."""
    stage = GROUPS[group]
    if stage.receivers is None:
        return PATHS["logits"]
    receivers = f"{len(discovery.receivers[group])} {GROUPS[stage.receivers].letter}"
    return PATHS[stage.composition].format(receivers)


def _heat_map(grid: np.ndarray, suffix: str, domain: Sequence[float]) -> dict:
    bound = float(np.nanmax(np.abs(grid)))
    colours = colormaps[style.DIVERGING](np.linspace(0, 1, 11))
    return {
        "type": "heatmap",
        "z": [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in grid.T],
        "x": list(range(grid.shape[0])),
        "y": list(range(grid.shape[1])),
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "zmin": -bound,
        "zmax": bound,
        # As numbers: plotly falls back to its default for a name of matplotlib.
        "colorscale": [[round(i / 10, 1), to_hex(colour)] for i, colour in enumerate(colours)],
        "hovertemplate": "head %{x}.%{y}<br>effect %{z:.3f}<extra></extra>",
        "hoverongaps": False,
        "colorbar": {"len": 0.175, "y": sum(domain) / 2, "thickness": 10, "tickformat": ".2f"},
    }


def _heading(text: str, top: float) -> dict:
    return {
        "text": text,
        "x": 0,
        "y": top + 0.006,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
    }


def size_curve(curve: SizeCurve) -> Picture:
    """Accuracy of the candidate circuits against their size, with the whole model and the chosen
    one.
    """
    sizes = [c.size for c in curve.scores.circuits]
    estimates = [curve.scores.accuracy(i) for i in range(len(sizes))]
    whole, chosen = curve.scores.full_accuracy(), estimates[curve.chosen]
    colour = style.version_colour(curve.scores.model)
    grey = style.NEUTRAL
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 3.4))
        axes.axhspan(whole.low, whole.high, color=grey, alpha=0.2, lw=0)
        axes.axhline(whole.value, color=grey, ls="--", label="whole model, with its 95 % interval")
        values = np.array([e.value for e in estimates])
        errors = [values - [e.low for e in estimates], [e.high for e in estimates] - values]
        label = "candidate circuit alone"
        axes.errorbar(sizes, values, yerr=errors, color=colour, marker="o", label=label)
        at = (sizes[curve.chosen], chosen.value)
        axes.plot(*at, "o", ms=12, mfc="none", mec="black", label="chosen")
        axes.set(xlabel="heads in the circuit", ylabel="accuracy", ylim=(0, 1))
        axes.legend(loc="lower right")
    return Picture(
        figure,
        f"The chosen candidate of {curve.circuit.size} heads is right on {chosen.value:.2f} of the"
        f" prompts, the whole model on {whole.value:.2f}. Accuracy of {len(sizes)} candidates"
        f" against their size, from {sizes[0]} heads ({estimates[0].value:.2f}) to"
        f" {sizes[-1]} ({estimates[-1].value:.2f}).",
    )


def circuit_graph(circuit: Circuit, discovery: Discovery, *, n_layers: int) -> Picture:
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
    kept = {name: circuit.groups[name] for name in GROUPS if circuit.groups[name]}
    answer = places["last"] + shift["value_fetcher"]
    with style.look():
        figure, axes = plt.subplots(figsize=(NARROW, 5.2))
        middle = {}
        for name, heads in kept.items():
            x = places[circuit.role(name)] + shift.get(name, 0)
            grid = discovery.scores[name].grid()
            effects = np.array([-grid[h.layer, h.head] for h in heads])
            axes.scatter(
                [x + 0.12 * ((i % 3) - 1) for i in range(len(heads))],
                [h.layer for h in heads],
                s=25 + 220 * effects / effects.max(),
                color=style.GROUPS[name],
                alpha=0.85,
                edgecolor="white",
                lw=0.6,
                zorder=3,
            )
            middle[name] = (x, float(np.average([h.layer for h in heads], weights=effects)))
        for name in kept:
            receivers = GROUPS[name].receivers
            end = (answer, n_layers + 1.2) if receivers is None else middle.get(receivers)
            if end is not None:
                _arrow(axes, middle[name], end)
            read = reads_from(name, circuit.structure_role)
            if name != "structure_reader":  # it reads at its own token or the one before
                ends = ([places[read], middle[name][0]], [-0.8, middle[name][1]])
                axes.plot(*ends, ls=":", lw=1.3, color=style.GROUPS[name], zorder=2)
        axes.text(answer, n_layers + 1.6, "“apple”", ha="center", va="bottom", weight="bold")
        axes.set_xticks(range(len(words)), words, rotation=60)
        for place in places.values():
            axes.axvline(place, color=style.NEUTRAL, lw=0.6, alpha=0.5, zorder=1)
            axes.get_xticklabels()[place].set_weight("bold")
        axes.set(ylabel="layer", ylim=(-1.2, n_layers + 3.4), xlim=(-0.6, len(words) - 0.2))
        axes.grid(False)
        axes.legend(handles=_graph_keys(circuit), loc="upper left")
    told = "; ".join(
        f"{len(heads)} {GROUPS[name].title.lower()}{'s' * (len(heads) != 1)} at the"
        f" {ROLE_WORDS[circuit.role(name)]}"
        for name, heads in kept.items()
    )
    return Picture(
        figure,
        f"The circuit keeps {told}. Diagram over the prompt, layers upwards: arrows lead from each"
        " group to the one that it feeds, and from the value fetchers to the answer.",
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {
        "arrowstyle": "-|>",
        "lw": 2,
        "color": "black",
        "shrinkA": 7,
        "shrinkB": 7,
        "connectionstyle": "arc3,rad=-0.15",
    }
    axes.annotate("", xy=end, xytext=start, zorder=4, arrowprops=look)


def _graph_keys(circuit: Circuit) -> list[Line2D]:
    keys = []
    for name, group in GROUPS.items():
        label = f"{group.letter} {group.title} ({len(circuit.groups[name])})"
        keys.append(Line2D([], [], ls="", marker="o", color=style.GROUPS[name], label=label))
    return [
        *keys,
        Line2D([], [], color="black", label="passes on to"),
        Line2D([], [], ls=":", color=style.NEUTRAL, label="should attend to"),
    ]


def depths(circuits: Mapping[str, tuple[Circuit, int]]) -> Picture:
    """Relative depth of every head by group, one row per model; `circuits` is title -> (circuit,
    number of layers).
    """
    told = []
    with style.look():
        size = (style.WIDTH, 1.7 * len(circuits) + 0.4)
        figure, rows = plt.subplots(len(circuits), 1, sharex=True, figsize=size, squeeze=False)
        for axes, (title, (circuit, n_layers)) in zip(rows[:, 0], circuits.items(), strict=True):
            medians = []
            for place, (name, group) in enumerate(GROUPS.items()):
                at = np.array([h.layer for h in circuit.groups[name]]) / (n_layers - 1)
                spread = np.linspace(-0.25, 0.25, len(at)) if len(at) > 1 else np.zeros(len(at))
                axes.plot(at, place + spread, "o", color=style.GROUPS[name], alpha=0.8)
                if len(at):
                    bar = [place - 0.38, place + 0.38]
                    axes.plot([np.median(at)] * 2, bar, color="black", lw=2)
                    medians.append(f"{group.letter} {np.median(at):.2f}")
            told.append(f"{title}: {', '.join(medians)}")
            axes.set(title=title, xlim=(-0.02, 1.02), ylim=(3.5, -0.5))
            axes.set_yticks(range(4), [g.letter for g in GROUPS.values()])
        axes.set_xlabel("relative depth (0 = first layer, 1 = last); bar: median")
    return Picture(
        figure,
        f"Median relative depth of the heads by group: {'; '.join(told)}. Strip plots, one per"
        " model.",
    )


def attention_masses(looks: Sequence[HeadAttention], columns: Mapping[str, str]) -> Picture:
    """Mean attention of single heads to kinds of tokens; `columns` is title -> kind.

    Raises SiteError where there are no heads to show.
    """
    if not looks:
        raise SiteError(
            "no head of the circuit was kept, so there is no attention to show; at least one is"
            " needed. Search with more prompts, or in a version that does the task."
        )
    grid = np.array([[look.to(kind).value for kind in columns.values()] for look in looks])
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.55 * len(looks) + 1.6))
        image = axes.imshow(grid, vmin=0, vmax=1, aspect="auto", cmap=style.SEQUENTIAL)
        colours = image.cmap(image.norm(grid))
        for (row, column), value in np.ndenumerate(grid):
            ink = style.ink_on(colours[row, column])
            where = (column, row, f"{value:.2f}")
            axes.text(*where, ha="center", va="center", fontsize=9, color=ink)
        axes.set_xticks(range(len(columns)), list(columns), rotation=25, ha="right")
        axes.set_yticks(range(len(looks)), [look.name for look in looks])
        axes.grid(False)
    told = ", ".join(f"{look.name} {look.to(look.wanted).value:.2f}" for look in looks)
    return Picture(
        figure,
        f"Share of attention that each head gives the token which its group should read: {told}."
        " Heat map of heads by kinds of tokens.",
    )

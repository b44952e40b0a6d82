"""Figures of what improved: accuracies with a group handed over, what a patch repairs and breaks,
updates, slips.

They draw; nothing is computed here. All intervals are 95 %.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from entrack.display import style
from entrack.display.cells import LiveFigure
from entrack.model.sites import GROUPS
from entrack.patching.cmap_suite import INPUTS, Exchange, GraftScores
from entrack.patching.weight_swap import MATRICES, UpdateNorms
from entrack.stats.metrics import Estimate, mean

LETTER_COLOURS = {g.letter: style.GROUPS[name] for name, g in GROUPS.items()}


def handed_over(
    exchanges: Mapping[str, Exchange], *, titles: Mapping[str, str] | None = None
) -> Figure:
    """The paper's Figure 4 with controls: the receiver's accuracy with each group from each donor,
    a panel per exchange.

    Full marks: the group. Open grey marks: random heads at the same role. Ticks: receiver (dashed)
    and donor (solid) alone, in every row on the prompts of that row."""
    titles = titles or {}
    with style.look():
        panels = list(exchanges)
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        alike = len({tuple(_ordered(found)) for found in exchanges.values()}) == 1
        figure, grid = plt.subplots(
            rows,
            columns,
            sharex=True,
            sharey=alike,
            squeeze=False,
            figsize=(style.WIDTH, 2.4 * rows + 0.8),
        )
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, name in zip(grid.flat, panels, strict=False):
            found = exchanges[name]
            labels = _ordered(found)
            for place, label in enumerate(labels):
                result = found.of(label)
                drawn = found.random(label) if len(label) == 1 else []
                if drawn:
                    shares = np.mean([result.hits[result.index(d)] for d in drawn], axis=0)
                    _mark(
                        axes,
                        mean(shares, clusters=result.scenes),
                        place + 0.25,
                        style.NEUTRAL,
                        "o",
                        hollow=True,
                    )
                axes.vlines(
                    result.own_accuracy().value,
                    place - 0.45,
                    place + 0.45,
                    color="black",
                    lw=1,
                    ls="--",
                    alpha=0.7,
                )
                axes.vlines(
                    result.donor_accuracy().value,
                    place - 0.45,
                    place + 0.45,
                    color="black",
                    lw=1,
                    alpha=0.7,
                )
                _mark(
                    axes,
                    result.accuracy(label),
                    place,
                    LETTER_COLOURS.get(label, style.version_colour("base")),
                    "o" if len(label) == 1 else "D",
                )
            axes.set(
                yticks=range(len(labels)),
                yticklabels=labels,
                title=titles.get(name, name),
                xlim=(-0.02, 1.02),
                ylim=(len(labels) - 0.4, -0.6),
            )
            axes.grid(axis="y", visible=False)
        for axes in grid[-1]:
            axes.set_xlabel("accuracy")
        figure.legend(
            handles=[
                Line2D([], [], color="black", lw=1, ls="--", alpha=0.7, label="receiver alone"),
                Line2D([], [], color="black", lw=1, alpha=0.7, label="donor alone"),
                _random_key(),
            ],
            loc="outside upper left",
            ncols=3,
        )
    return figure


def _ordered(found: Exchange) -> list[str]:
    """Groups, then what is patched together; controls and inputs have marks of their own."""
    labels = found.all_labels()
    singles = [g.letter for g in GROUPS.values() if g.letter in labels]
    return (
        singles
        + [label for label in labels if " and " in label]
        + [label for label in labels if label == "full circuit"]
    )


def repaired_and_broken(exchanges: Mapping[str, Exchange]) -> Figure:
    """Share of the receiver's wrong answers that each group repairs, and of its right ones that it
    breaks.
    """
    with style.look():
        figure, (left, right) = plt.subplots(
            1, 2, sharey=True, figsize=(style.WIDTH, 0.55 * len(exchanges) * 4 * 0.55 + 1.4)
        )
        ticks, places = [], 0.0
        for name, found in exchanges.items():
            for letter in (label for label in _ordered(found) if len(label) == 1):
                result = found.of(letter)
                for axes, share in ((left, result.repaired), (right, result.broken)):
                    for labels, colour, shift, hollow in (
                        (found.random(letter), style.NEUTRAL, 0.3, True),
                        ([letter], LETTER_COLOURS[letter], 0.0, False),
                    ):
                        estimate = share(*labels) if labels else None
                        if estimate is not None:
                            _mark(axes, estimate, places + shift, colour, "o", hollow=hollow)
                ticks.append((places, f"{letter} of {name}"))
                places += 1
            places += 0.5
        left.set(
            yticks=[p for p, _ in ticks],
            yticklabels=[t for _, t in ticks],
            xlim=(-0.02, 1.02),
            xlabel="repaired, of wrong answers",
        )
        right.set(xlim=(-0.02, 1.02), xlabel="broken, of right answers")
        left.invert_yaxis()
        figure.legend(handles=[_random_key()], loc="outside upper left")
    return figure


def inputs_bars(found: Exchange) -> Figure:
    """Gain in the answer's log probability from the donor's q, k, v and z of A and of B."""
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 3.0))
        labels = [*INPUTS, "z"]
        for shift, letter in ((-0.18, "A"), (0.18, "B")):
            for place, inputs in enumerate(labels):
                label = letter if inputs == "z" else f"{inputs} of {letter}"
                if label not in found.all_labels():
                    continue
                gain = found.near.log_prob_gain(label)
                axes.bar(
                    place + shift,
                    gain.value,
                    width=0.34,
                    color=LETTER_COLOURS[letter],
                    label=letter if inputs == labels[0] else None,
                )
                axes.errorbar(
                    place + shift,
                    gain.value,
                    yerr=[[gain.value - gain.low], [gain.high - gain.value]],
                    color="black",
                    lw=1,
                )
        axes.axhline(0, color="black", lw=0.8)
        axes.set(
            xticks=range(len(labels)),
            xticklabels=[*INPUTS, "output z"],
            ylabel="gain, nats",
            xlabel="taken from the donor",
        )
        axes.legend(title="group")
    return figure


def update_maps(norms: UpdateNorms) -> LiveFigure:
    """Where the update sits: its norm relative to the weight's, a live map of layers and heads per
    matrix.
    """
    panels, layout = (
        [],
        {"height": 740, "margin": {"l": 50, "r": 10, "t": 30, "b": 45}, "annotations": []},
    )
    top_value = float(norms.relative.max())
    for index, matrix in enumerate(MATRICES):
        suffix = "" if index == 0 else str(index + 1)
        top, bottom = 0.98 - index * 0.268, 0.98 - index * 0.268 - 0.175
        panels.append(
            {
                "type": "heatmap",
                "z": norms.relative[index].T.tolist(),
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "zmin": 0,
                "zmax": top_value,
                "colorscale": "Cividis",
                "name": f"W_{matrix.upper()}",
                "showscale": index == 0,
                "colorbar": {"thickness": 10, "len": 0.175, "y": (top + bottom) / 2},
                "hovertemplate": (
                    f"W_{matrix.upper()} of head %{{x}}.%{{y}}<br>%{{z:.3f}} of the"
                    " weight<extra></extra>"
                ),
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
        layout["annotations"].append(
            {
                "text": f"W<sub>{matrix.upper()}</sub>",
                "x": 0,
                "y": top + 0.006,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    means = ", ".join(f"{m} {norms.relative[i].mean():.3f}" for i, m in enumerate(MATRICES))
    return LiveFigure(
        {"data": panels, "layout": layout},
        alt=(
            f"Four heat maps, one per matrix, of the relative size of the update from {norms.onto}"
            f" to {norms.model}; on average {means}."
        ),
    )


def graft_gains(grafts: Mapping[str, GraftScores]) -> Figure:
    """Gain in accuracy from the donor's weights in parts of the heads, a panel per pair, named
    "<donor> onto <receiver>".
    """
    with style.look():
        longest = max(len(g.scores) for g in grafts.values()) - 1
        figure, grid = plt.subplots(
            1,
            len(grafts),
            sharex=True,
            sharey=True,
            squeeze=False,
            figsize=(style.WIDTH, 0.27 * longest + 1.0),
        )
        for axes, (name, found) in zip(grid[0], grafts.items(), strict=True):
            parts = [part for part in found.scores if part != "none"]
            for place, part in enumerate(parts):
                colour = LETTER_COLOURS.get(
                    part,
                    (
                        style.NEUTRAL
                        if part.startswith("random")
                        else style.version_colour(name.split()[0])
                    ),
                )
                _mark(axes, found.gain(part), place, colour, "o", hollow=part.startswith("random"))
            axes.axvline(0, color="black", lw=0.8)
            axes.set(
                yticks=range(len(parts)),
                yticklabels=[_part_title(p, found) for p in parts],
                title=name,
                xlabel="gain in accuracy",
            )
        grid[0][0].invert_yaxis()
    return figure


def _part_title(part: str, found: GraftScores) -> str:
    if part in MATRICES:
        return f"$W_{part.upper()}$, all heads"
    return {"all": "whole update", "others": "all other heads"}.get(
        part, part
    ) + f" ({found.n_heads[part]})"


def slip_bars(rows: Sequence[tuple[str, Estimate, Estimate]]) -> Figure:
    """Every slip on and off: (label, off, on), all shares between 0 and 1."""
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.48 * len(rows) + 1.0))
        for place, (_, off, on) in enumerate(rows):
            axes.plot([off.value, on.value], [place, place], color=style.NEUTRAL, lw=1.2, zorder=1)
            _mark(
                axes,
                off,
                place - 0.13,
                style.version_colour("base"),
                "o",
                label="off: as it should be" if not place else None,
            )
            _mark(
                axes,
                on,
                place + 0.13,
                style.version_colour("boxes"),
                "D",
                label="on: as released" if not place else None,
            )
        axes.set(
            yticks=range(len(rows)),
            yticklabels=[label.replace(": ", ":\n") for label, _, _ in rows],
            xlabel="share",
        )
        axes.invert_yaxis()
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return figure


def _random_key() -> Line2D:
    return Line2D(
        [], [], ls="none", marker="o", mfc="none", color=style.NEUTRAL, label="as many random heads"
    )


def _mark(
    axes: Axes,
    estimate: Estimate,
    place: float,
    colour: str,
    marker: str,
    *,
    hollow: bool = False,
    label: str | None = None,
) -> None:
    axes.errorbar(
        [estimate.value],
        [place],
        xerr=[
            [max(0.0, estimate.value - estimate.low)],
            [max(0.0, estimate.high - estimate.value)],
        ],
        fmt=marker,
        color=colour,
        mfc="none" if hollow else colour,
        lw=1.2,
        label=label,
    )

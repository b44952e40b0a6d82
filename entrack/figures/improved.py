"""Figures of what improved: accuracies with a group handed over, what a patch repairs and breaks,
updates.

They draw; nothing is computed here. All intervals are 95 %."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entrack.cross_model.cmap_suite import CMAP, INPUTS, GraftScores
from entrack.cross_model.weight_swap import MATRICES, UpdateNorms
from entrack.display import style
from entrack.display.cells import LiveFigure, Picture
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, mean

LETTER_COLOURS = {g.letter: style.GROUPS[name] for name, g in GROUPS.items()}
OTHERS = "all other heads at this token"
"""The control that patches every head outside the circuit at a group's token."""


def handed_over(cmaps: Sequence[CMAP]) -> Picture:
    """The paper's Figure 4 with controls: the receiver's accuracy with each group from each donor,
    a panel per CMAP.

    Full marks: the group. Open grey circles: random heads at the same token; open grey squares: all
    other heads there. Ticks: receiver (dashed) and donor (solid) alone, in every row on the prompts
    of that row."""
    with style.look():
        columns = min(2, len(cmaps))
        rows = -(-len(cmaps) // columns)
        alike = len({tuple(ordered(found)) for found in cmaps}) == 1
        size = (style.WIDTH, 2.8 * rows + 0.8)
        figure, grid = plt.subplots(
            rows, columns, sharex=True, sharey=alike, squeeze=False, figsize=size
        )
        for axes in grid.flat[len(cmaps) :]:
            axes.set_visible(False)
        for axes, found in zip(grid.flat, cmaps, strict=False):
            _panel(axes, found)
        for column in grid.T:
            # The last row may lack a panel.
            lowest = [axes for axes in column if axes.get_visible()][-1]
            lowest.tick_params(labelbottom=True)
            lowest.set_xlabel("accuracy")
        figure.legend(
            handles=[
                Line2D([], [], color="black", lw=1, ls="--", alpha=0.7, label="receiver alone"),
                Line2D([], [], color="black", lw=1, alpha=0.7, label="donor alone"),
                _open_key("o", "as many random heads"),
                _open_key("s", OTHERS),
            ],
            loc="outside upper left",
            ncols=2,
        )
    told = "; ".join(_accuracies(found) for found in cmaps)
    return Picture(figure, f"Accuracy of the receiver with heads of the donor. {told}.")


def _panel(axes: Axes, found: CMAP) -> None:
    labels = ordered(found)
    for place, label in enumerate(labels):
        result = found.of(label)
        if len(label) == 1:
            _controls(axes, found, label, place)
        for alone, dashes in ((result.own_accuracy(), "--"), (result.donor_accuracy(), "-")):
            ends = (place - 0.45, place + 0.45)
            axes.vlines(alone.value, *ends, color="black", lw=1, ls=dashes, alpha=0.7)
        colour = LETTER_COLOURS.get(label, style.version_colour(found.near.donor))
        _mark(axes, result.accuracy(label), place, colour, "o" if len(label) == 1 else "D")
    axes.set(
        yticks=range(len(labels)),
        yticklabels=labels,
        title=found.title,
        xlim=(-0.02, 1.02),
        ylim=(len(labels) - 0.4, -0.6),
    )
    axes.grid(axis="y", visible=False)


def _controls(axes: Axes, found: CMAP, letter: str, place: int) -> None:
    result, drawn, others = found.of(letter), found.random(letter), found.others(letter)
    if drawn:
        shares = np.mean([result.hits[result.index(label)] for label in drawn], axis=0)
        random = mean(shares, clusters=result.scenes, share=True)
        _mark(axes, random, place + 0.2, style.NEUTRAL, "o", hollow=True)
    if others:
        _mark(axes, result.accuracy(others), place + 0.36, style.NEUTRAL, "s", hollow=True)


def _accuracies(found: CMAP) -> str:
    told = [f"{label} {found.of(label).accuracy(label).value:.2f}" for label in ordered(found)]
    told += [
        f"{OTHERS} as {letter} {found.of(letter).accuracy(found.others(letter)).value:.2f}"
        for letter in found.letters()
        if found.others(letter)
    ]
    for result, where in ((found.near, ""), (found.far, " on the prompts of D")):
        if result is not None:
            told.append(f"receiver alone{where} {result.own_accuracy().value:.2f}")
            told.append(f"donor alone{where} {result.donor_accuracy().value:.2f}")
    return f"{found.title}: {', '.join(told)}"


def ordered(found: CMAP) -> list[str]:
    """Groups, then what is patched together; controls and inputs have marks of their own."""
    labels = found.all_labels()
    together = [label for label in labels if " and " in label]
    return found.letters() + together + [x for x in labels if x == "full circuit"]


def repaired_and_broken(cmaps: Mapping[str, CMAP]) -> Picture:
    """Share of the receiver's wrong answers that each group repairs, and of its right ones that it
    breaks; random heads and all others beside it, as in `handed_over`.
    """
    told = []
    with style.look():
        figure, (left, right) = plt.subplots(
            1, 2, sharey=True, figsize=(style.WIDTH, 0.55 * len(cmaps) * 4 * 0.55 + 1.6)
        )
        ticks, place = [], 0.0
        for name, found in cmaps.items():
            for letter in found.letters():
                _shares(left, right, found, letter, place)
                ticks.append((place, f"{letter} of {name}"))
                told.append(_repairs(found, letter, name))
                place += 1
            place += 0.5
        left.set(
            yticks=[p for p, _ in ticks],
            yticklabels=[t for _, t in ticks],
            xlim=(-0.02, 1.02),
            xlabel="repaired, of wrong answers",
        )
        right.set(xlim=(-0.02, 1.02), xlabel="broken, of right answers")
        left.invert_yaxis()
        keys = [_open_key("o", "as many random heads"), _open_key("s", OTHERS)]
        figure.legend(handles=keys, loc="outside upper left", ncols=2)
    return Picture(figure, f"Answers repaired and broken by a patch: {'; '.join(told)}.")


def _shares(left: Axes, right: Axes, found: CMAP, letter: str, place: float) -> None:
    result, others = found.of(letter), found.others(letter)
    marks = (
        (found.random(letter), place + 0.2, style.NEUTRAL, "o"),
        ([others] if others else [], place + 0.38, style.NEUTRAL, "s"),
        ([letter], place, LETTER_COLOURS[letter], "o"),
    )
    for axes, share in ((left, result.repaired), (right, result.broken)):
        for labels, at, colour, marker in marks:
            estimate = share(*labels) if labels else None
            if estimate is not None:
                _mark(axes, estimate, at, colour, marker, hollow=labels != [letter])


def _repairs(found: CMAP, letter: str, name: str) -> str:
    told, result, others = [], found.of(letter), found.others(letter)
    for label, who in ((letter, f"{letter} of {name}"), (others, OTHERS)):
        if label:
            repaired, broken = result.repaired(label), result.broken(label)
            repairs = f"repairs {repaired.value:.2f}" if repaired else "has nothing to repair"
            breaks = f"breaks {broken.value:.2f}" if broken else "has nothing to break"
            told.append(f"{who} {repairs} and {breaks}")
    return ", ".join(told)


def inputs_bars(found: CMAP) -> Picture:
    """Gain in the answer's log probability from the donor's q, k, v and z of A and of B."""
    told = []
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 3.0))
        labels = [*INPUTS, "z"]
        for shift, letter in ((-0.18, "A"), (0.18, "B")):
            if letter not in found.letters():
                continue
            for place, inputs in enumerate(labels):
                label = letter if inputs == "z" else f"{inputs} of {letter}"
                gain = found.near.log_prob_gain(label)
                told.append(f"{label} {gain.value:+.2f}")
                bar = {"color": LETTER_COLOURS[letter], "width": 0.34}
                key = letter if inputs == labels[0] else None
                axes.bar(place + shift, gain.value, label=key, **bar)
                ends = [[gain.value - gain.low], [gain.high - gain.value]]
                axes.errorbar(place + shift, gain.value, yerr=ends, color="black", lw=1)
        axes.axhline(0, color="black", lw=0.8)
        axes.set_xticks(range(len(labels)), [*INPUTS, "output z"])
        axes.set(ylabel="gain, nats", xlabel="taken from the donor")
        if told:
            axes.legend(title="group")
    words = ", ".join(told) or "the circuit has neither A nor B"
    return Picture(figure, f"Gain in log probability, {found.title}, in nats: {words}.")


def update_maps(norms: UpdateNorms) -> LiveFigure:
    """Where the update sits: its norm relative to the weight's, a live map of layers and heads per
    matrix.
    """
    panels = []
    layout = {"height": 740, "margin": {"l": 50, "r": 10, "t": 30, "b": 45}, "annotations": []}
    for index, matrix in enumerate(MATRICES):
        suffix = "" if index == 0 else str(index + 1)
        top, bottom = 0.98 - index * 0.268, 0.98 - index * 0.268 - 0.175
        here = f"W_{matrix.upper()} of head %{{x}}.%{{y}}<br>%{{z:.3f}} of the weight"
        panels.append(
            {
                "type": "heatmap",
                "z": norms.relative[index].T.tolist(),
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "zmin": 0,
                "zmax": float(norms.relative.max()),
                "colorscale": "Cividis",
                "name": f"W_{matrix.upper()}",
                "showscale": index == 0,
                "colorbar": {"thickness": 10, "len": 0.175, "y": (top + bottom) / 2},
                "hovertemplate": f"{here}<extra></extra>",
            }
        )
        x_axis = {"anchor": f"y{suffix}", "dtick": 5}
        layout[f"xaxis{suffix}"] = x_axis | {"title": {"text": "layer"} if index == 3 else None}
        y_axis = {"anchor": f"x{suffix}", "domain": [bottom, top], "dtick": 2}
        layout[f"yaxis{suffix}"] = y_axis | {"title": {"text": "head"}}
        corner = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
        text = {"text": f"W<sub>{matrix.upper()}</sub>", "x": 0, "y": top + 0.006}
        layout["annotations"].append(text | corner | {"showarrow": False})
    means = ", ".join(f"{m} {norms.relative[i].mean():.3f}" for i, m in enumerate(MATRICES))
    return LiveFigure(
        {"data": panels, "layout": layout},
        alt=f"Four heat maps, one per matrix, of the relative size of the update from {norms.onto}"
        f" to {norms.model}; on average {means}.",
    )


def graft_gains(grafts: Mapping[str, GraftScores]) -> Picture:
    """Gain in accuracy from the donor's weights in parts of the heads, a panel per pair, named
    "<donor> onto <receiver>".
    """
    told = []
    with style.look():
        longest = max(len(g.scores) for g in grafts.values()) - 1
        size = (style.WIDTH, 0.27 * longest + 1.0)
        figure, grid = plt.subplots(
            1, len(grafts), sharex=True, sharey=True, squeeze=False, figsize=size
        )
        for axes, (name, found) in zip(grid[0], grafts.items(), strict=True):
            parts = [part for part in found.scores if part != "none"]
            donor = style.version_colour(name.split()[0])
            for place, part in enumerate(parts):
                random = part.startswith("random")
                colour = style.NEUTRAL if random else LETTER_COLOURS.get(part, donor)
                _mark(axes, found.gain(part), place, colour, "o", hollow=random)
            axes.axvline(0, color="black", lw=0.8)
            axes.set(
                yticks=range(len(parts)),
                yticklabels=[_part_title(p, found) for p in parts],
                title=name,
                xlabel="gain in accuracy",
            )
            gains = ", ".join(f"{part} {found.gain(part).value:+.2f}" for part in parts)
            told.append(f"{name}: {gains}")
        grid[0][0].invert_yaxis()
    return Picture(figure, f"Gain in accuracy from parts of an update. {'; '.join(told)}.")


def _part_title(part: str, found: GraftScores) -> str:
    if part in MATRICES:
        return f"$W_{part.upper()}$, all heads"
    title = {"all": "whole update", "others": "all other heads"}.get(part, part)
    return f"{title} ({found.n_heads[part]})"


def _open_key(marker: str, label: str) -> Line2D:
    return Line2D([], [], ls="none", marker=marker, mfc="none", color=style.NEUTRAL, label=label)


def _mark(
    axes: Axes,
    estimate: Estimate,
    place: float,
    colour: str,
    marker: str,
    *,
    hollow: bool = False,
) -> None:
    low, high = estimate.value - estimate.low, estimate.high - estimate.value
    ends = [[max(0.0, low)], [max(0.0, high)]]
    axes.errorbar(
        [estimate.value],
        [place],
        xerr=ends,
        fmt=marker,
        color=colour,
        mfc="none" if hollow else colour,
        lw=1.2,
    )

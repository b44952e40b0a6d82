"""Figures of what heads carry: patched answers by candidate, mask paths, the paper's figure 3.
Nothing is computed here.

Each function returns the figure and its alternative text. Intervals are 95 %.
"""

from collections.abc import Mapping
from itertools import zip_longest
from textwrap import fill

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from entrack.display import style
from entrack.display.style import ROLE_WORDS
from entrack.model.sites import GROUPS
from entrack.patching.dcm import Masks
from entrack.patching.group_patching import Patched
from entrack.stats.metrics import Estimate

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
PAPER_NAMES = {"llama": "Llama", "vicuna": "Vicuna", "goat": "Goat", "float": "FLoat"}
PAPER_MARKERS = {"llama": "o", "vicuna": "s", "goat": "^", "float": "D"}
DESIDERATA = ("object", "position", "label")
LABELLED = 0.095
"""Smallest share whose number fits into its part of a bar."""


def by_layer(streams: Mapping[str, Patched], *, n_layers: int) -> tuple[Figure, str]:
    """What the model answers with the residual stream of a role (key) patched, against the layer.
    One panel per role.
    """
    names = [*next(iter(streams.values())).candidates, "other"]
    told = []
    with style.look():
        figure, panels = plt.subplots(
            1, len(streams), sharey=True, figsize=(style.WIDTH, 2.9), squeeze=False
        )
        for axes, (role, found) in zip(panels[0], streams.items(), strict=True):
            patches = sorted((p.resid, name) for name, p in found.patches.items())
            shares = [found.shares(name) for _, name in patches]
            for name in names:
                axes.plot(
                    [layer for layer, _ in patches],
                    [s[name] for s in shares],
                    color=CANDIDATES[name],
                    label=CANDIDATE_WORDS.get(name, name),
                    marker=CANDIDATE_MARKERS.get(name),
                    ms=4,
                    ls=":" if name == "other" else "-",
                )
            axes.set(title=ROLE_WORDS[role], xlabel="layer", xlim=(0, n_layers), ylim=(-0.02, 1))
            peak = {
                name: max((s[name], layer) for s, (layer, _) in zip(shares, patches, strict=True))
                for name in DESIDERATA
                if name in names
            }
            told.append(
                f"at the {ROLE_WORDS[role]} "
                + ", ".join(
                    f"{name} at most {value:.2f} (layer {layer})"
                    for name, (value, layer) in peak.items()
                )
            )
        panels[0, 0].set_ylabel("share of answers")
        figure.legend(
            *panels[0, 0].get_legend_handles_labels(),
            loc="outside upper left",
            ncols=5,
            columnspacing=1.2,
        )
    return (
        figure,
        "Answers with the residual stream of one token taken from the source: "
        + "; ".join(told)
        + ".",
    )


def mask_paths(masks: Mapping[tuple[str, str], Masks]) -> tuple[Figure, str]:
    """Validation score of every mask against the number of heads it patches, by group; the chosen
    masks ringed.
    """
    groups = list(dict.fromkeys(group for group, _ in masks))
    told = []
    with style.look():
        figure, panels = plt.subplots(
            1, len(groups), sharey=True, figsize=(style.WIDTH, 2.9), squeeze=False
        )
        for axes, group in zip(panels[0], groups, strict=True):
            learned = {target: found for (name, target), found in masks.items() if name == group}
            for target, found in learned.items():
                sizes, scores = found.curve()
                axes.plot(
                    sizes,
                    scores,
                    color=CANDIDATES[target],
                    marker=CANDIDATE_MARKERS[target],
                    ms=4,
                    lw=1.2,
                    label=target,
                )
                for path in found.paths:
                    chosen = path.chosen(found.config, found.n_validation)
                    axes.plot(
                        path.noted[chosen].sum(),
                        path.validation[chosen],
                        "o",
                        ms=10,
                        mfc="none",
                        mec=CANDIDATES[target],
                        mew=1.2,
                    )
                told.append(
                    f"{GROUPS[group].letter} {target}: {len(found.agreed())} of {len(found.heads)}"
                    f" heads, best {scores.max():.2f}"
                )
            axes.set(
                title=f"{GROUPS[group].letter} ({len(next(iter(learned.values())).heads)} heads)",
                xlabel="heads patched",
                ylim=(-0.02, 0.72),
            )
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0, 0].set_ylabel("share of expected answers")
        handles = [
            Line2D([], [], color=CANDIDATES[t], marker=CANDIDATE_MARKERS[t], label=t)
            for t in DESIDERATA
        ]
        handles.append(
            Line2D(
                [],
                [],
                ls="none",
                marker="o",
                ms=10,
                mfc="none",
                mec="black",
                label="chosen, one ring a seed",
            )
        )
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure, "Validation score against number of patched heads. " + "; ".join(told) + "."


def figure_three(
    ours: Mapping[str, Mapping[tuple[str, str], Estimate | None]],
    *,
    paper: Mapping[str, Mapping[tuple[str, str], float]],
    void: str,
) -> tuple[Figure, str]:
    """Score above floor of every group (panel), desideratum (place) and version (mark); the paper's
    models below.

    Args:
        ours: version -> (group, desideratum) -> score above floor; None, where no head was
            selected, is an open circle.
        paper: model -> (group, desideratum) -> score above floor; a pair that is absent is drawn as
            void.
        void: what to write there.
    """
    groups = list(dict.fromkeys(group for scores in ours.values() for group, _ in scores))
    none_selected = {"ls": "none", "marker": "o", "ms": 6, "mfc": "none", "color": style.NEUTRAL}
    with style.look():
        figure, panels = plt.subplots(
            2, len(groups), sharex=True, sharey=True, figsize=(style.WIDTH, 4.6), squeeze=False
        )
        for column, group in enumerate(groups):
            axes = panels[0, column]
            for index, (version, scores) in enumerate(ours.items()):
                for place, target in enumerate(DESIDERATA):
                    e = scores[group, target]
                    if e is None:
                        axes.plot(place, 0, **none_selected)
                        continue
                    at = place + (index - (len(ours) - 1) / 2) * 0.15
                    axes.errorbar(
                        at,
                        e.value,
                        yerr=[[e.value - e.low], [e.high - e.value]],
                        color=style.version_colour(version),
                        marker=style.version_marker(version),
                        ms=4,
                        lw=1.2,
                        capsize=1.5,
                    )
            axes.set_title(
                f"{GROUPS[group].letter} {GROUPS[group].title}".replace(" ", "\n", 1), fontsize=9
            )
            axes = panels[1, column]
            for index, (model, scores) in enumerate(paper.items()):
                for place, target in enumerate(DESIDERATA):
                    if (group, target) in scores:
                        axes.plot(
                            place + (index - (len(paper) - 1) / 2) * 0.15,
                            scores[group, target],
                            color=style.NEUTRAL,
                            marker=PAPER_MARKERS[model],
                            ms=5,
                            ls="none",
                        )
            axes.axvspan(
                1.6, 2.4, facecolor="none", edgecolor=style.NEUTRAL, hatch="///", alpha=0.5, lw=0
            )
            axes.text(2, 0.3, void, ha="center", va="center", rotation=90, fontsize=9)
        for axes in panels.flat:
            axes.axhline(0, color="black", lw=0.8)
            axes.grid(axis="x", visible=False)
            axes.set(xlim=(-0.5, 2.5), xticks=range(3))
            axes.set_xticklabels(DESIDERATA, rotation=35, ha="right", fontsize=9)
        panels[0, 0].set_ylabel("this family\nabove floor")
        panels[1, 0].set_ylabel("the paper, 7B\nabove floor")
        above = [
            Line2D(
                [],
                [],
                ls="none",
                color=style.version_colour(v),
                marker=style.version_marker(v),
                label=v,
            )
            for v in ours
        ]
        if any(e is None for scores in ours.values() for e in scores.values()):
            above.append(Line2D([], [], label="no head selected", **none_selected))
        below = [
            Line2D(
                [],
                [],
                ls="none",
                color=style.NEUTRAL,
                marker=PAPER_MARKERS[m],
                label=PAPER_NAMES[m],
            )
            for m in paper
        ]
        columns = zip_longest(above, below, fillvalue=Line2D([], [], ls="none", label=" "))
        figure.legend(
            handles=[handle for column in columns for handle in column],
            loc="outside upper left",
            ncols=max(len(above), len(below)),
            columnspacing=1.0,
            handletextpad=0.2,
        )
    first = next(iter(ours))
    told = "; ".join(
        f"{GROUPS[g].letter} "
        + ", ".join(
            f"{t} "
            + (
                "no head selected"
                if ours[first][g, t] is None
                else f"{ours[first][g, t].value:+.2f}"
            )
            for t in DESIDERATA
        )
        for g in groups
    )
    return (
        figure,
        (
            f"Score above floor by group and desideratum. Version {first}: {told}. The paper's"
            " label columns are void."
        ),
    )


def answer_shares(rows: Mapping[str, Mapping[str, float]]) -> tuple[Figure, str]:
    """One stacked bar per row: the share of answers that each candidate explains."""
    names = sorted(
        dict.fromkeys(name for shares in rows.values() for name in shares),
        key=lambda name: name == "other",
    )
    with style.look():
        figure, axes = plt.subplots(figsize=(5.6, 0.4 * len(rows) + 1.0))
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
    return figure, f"What the patched model answers. {told}."


def _filling(name: str) -> dict:
    """A full part of a bar; the remainder's is empty, so that it recedes on any page."""
    return (
        {"facecolor": "none", "edgecolor": CANDIDATES[name], "lw": 0.8}
        if name == "other"
        else {"color": CANDIDATES[name], "lw": 0}
    )


def variation_scores(
    ours: Mapping[str, Estimate],
    *,
    paper: Mapping[str, float],
    floor: float,
    titles: Mapping[str, str],
    version: str,
) -> tuple[Figure, str]:
    """One row per wording of the source: our score above floor with its interval, and the paper's,
    both as a share of plain.

    Args:
        ours, paper: name -> score above floor.
        floor: the paper's floor, for the axis note.
    """
    names = sorted(ours, key=lambda name: ours[name].value)
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.3 * len(names) + 0.9))
        for place, name in enumerate(names):
            e = ours[name]
            axes.errorbar(
                e.value,
                place,
                xerr=[[e.value - e.low], [e.high - e.value]],
                color=style.version_colour(version),
                marker=style.version_marker(version),
                ls="none",
            )
            if name in paper:
                axes.plot(
                    paper[name],
                    place,
                    marker="D",
                    mfc="none",
                    mew=1.6,
                    color=style.NEUTRAL,
                    ls="none",
                )
        axes.axvline(0, color="black", lw=0.8)
        axes.set(
            yticks=range(len(names)),
            yticklabels=[titles[name] for name in names],
            xlabel="position score above floor",
        )
        figure.legend(
            handles=[
                Line2D(
                    [],
                    [],
                    ls="none",
                    color=style.version_colour(version),
                    marker=style.version_marker(version),
                    label=f"{version}, here",
                ),
                Line2D(
                    [],
                    [],
                    ls="none",
                    color=style.NEUTRAL,
                    marker="D",
                    mfc="none",
                    mew=1.6,
                    label=f"Llama-7B (less its floor, {floor:.2f})",
                ),
            ],
            loc="outside upper left",
            ncols=2,
        )
    told = ", ".join(f"{titles[name]} {ours[name].value:+.2f}" for name in reversed(names))
    return figure, f"Position score above floor by wording of the source: {told}."

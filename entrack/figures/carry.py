"""Figures and tables of what heads carry: patched answers by layer, mask paths, the paper's figure
3. Nothing is computed here.

Each figure tells in words what is to be seen. Intervals are 95 %.
"""

from collections.abc import Mapping
from itertools import zip_longest

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entrack.circuit.contents import TARGETS, Contents
from entrack.display import style
from entrack.display.cells import Picture
from entrack.display.style import ROLE_WORDS
from entrack.errors import SiteError
from entrack.figures.position import CANDIDATE_MARKERS, CANDIDATE_WORDS, CANDIDATES
from entrack.patching.masks import Masks
from entrack.patching.patches import Patched
from entrack.sites import GROUPS

Key = tuple[str, str]
PAPER_MARKERS = "os^D"
"""Markers of the paper's models, in the order of its tables."""
NONE_SELECTED = {"ls": "none", "marker": "o", "ms": 6, "mfc": "none", "color": style.NEUTRAL}


def by_layer(streams: Mapping[str, Patched], *, n_layers: int) -> Picture:
    """What the model answers with the residual stream of a role (key) patched, against the layer.
    One panel per role.

    Raises SiteError where there is no role to show.
    """
    if not streams:
        raise SiteError(
            "no group of the circuit has a head, so no token is patched; at least one is needed."
            " Search with more pairs (n_pairs), or in a version that does the task."
        )
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
                for name in TARGETS
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
    words = "Answers with the residual stream of one token taken from the source"
    return Picture(figure, f"{words}: {'; '.join(told)}.")


def mask_paths(masks: Mapping[tuple[str, str], Masks]) -> Picture:
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
                    ring = {"ms": 10, "mfc": "none", "mec": CANDIDATES[target], "mew": 1.2}
                    axes.plot(path.noted[chosen].sum(), path.validation[chosen], "o", **ring)
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
            for t in TARGETS
        ]
        ring = {"ls": "none", "marker": "o", "ms": 10, "mfc": "none", "mec": "black"}
        handles.append(Line2D([], [], label="chosen, one ring a seed", **ring))
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
    words = "Validation score against number of patched heads"
    return Picture(figure, f"{words}. {'; '.join(told)}.")


def figure_three(contents: Contents, *, paper: Mapping[str, Mapping[Key, float]]) -> Picture:
    """Score above floor of every group (panel), desideratum (place) and version (mark); the paper's
    models below.

    Args:
        contents: where no head was selected the mark is an open circle.
        paper: model -> (group, desideratum) -> score above floor; labels are drawn as void.
    """
    groups = contents.groups
    with style.look():
        figure, panels = plt.subplots(
            2, len(groups), sharex=True, sharey=True, figsize=(style.WIDTH, 4.6), squeeze=False
        )
        for column, group in enumerate(groups):
            title = f"{GROUPS[group].letter}\n{GROUPS[group].title}"
            panels[0, column].set_title(title, fontsize=9)
            _ours(panels[0, column], contents, group)
            _theirs(panels[1, column], paper, group)
        for axes in panels.flat:
            axes.axhline(0, color="black", lw=0.8)
            axes.grid(axis="x", visible=False)
            axes.set(xlim=(-0.5, 2.5), xticks=range(3))
            axes.set_xticklabels(TARGETS, rotation=35, ha="right", fontsize=9)
        panels[0, 0].set_ylabel("this family\nabove floor")
        panels[1, 0].set_ylabel("the paper, 7B\nabove floor")
        figure.legend(**_keys(contents, paper))
    told = "; ".join(f"{GROUPS[g].letter} {_scores(contents, g)}" for g in groups)
    return Picture(
        figure,
        f"Score above floor by group and desideratum. Version {contents.base}: {told}. The paper's"
        " label columns are void.",
    )


def _ours(axes: Axes, contents: Contents, group: str) -> None:
    n = len(contents.tested)
    for index, version in enumerate(contents.tested):
        drawn = contents.drawn(version)
        for place, target in enumerate(TARGETS):
            e = drawn[group, target]
            if e is None:
                axes.plot(place, 0, **NONE_SELECTED)
                continue
            axes.errorbar(
                place + (index - (n - 1) / 2) * 0.15,
                e.value,
                yerr=[[e.value - e.low], [e.high - e.value]],
                color=style.version_colour(version),
                marker=style.version_marker(version),
                ms=4,
                lw=1.2,
                capsize=1.5,
            )


def _theirs(axes: Axes, paper: Mapping[str, Mapping[Key, float]], group: str) -> None:
    for index, (marker, scores) in enumerate(zip(PAPER_MARKERS, paper.values(), strict=False)):
        for place, target in enumerate(TARGETS):
            if (group, target) in scores:
                at = place + (index - (len(paper) - 1) / 2) * 0.15
                look = {"color": style.NEUTRAL, "marker": marker, "ms": 5, "ls": "none"}
                axes.plot(at, scores[group, target], **look)
    grey = {"facecolor": "none", "edgecolor": style.NEUTRAL, "alpha": 0.5}
    axes.axvspan(1.6, 2.4, hatch="///", lw=0, **grey)
    axes.text(2, 0.3, "void", ha="center", va="center", rotation=90, fontsize=9)


def _keys(contents: Contents, paper: Mapping[str, Mapping[Key, float]]) -> dict:
    above = [
        Line2D(
            [],
            [],
            ls="none",
            color=style.version_colour(v),
            marker=style.version_marker(v),
            label=v,
        )
        for v in contents.tested
    ]
    if any(e is None for e in contents.drawn(contents.base).values()):
        above.append(Line2D([], [], label="no head selected", **NONE_SELECTED))
    below = [
        Line2D([], [], ls="none", color=style.NEUTRAL, marker=marker, label=model)
        for marker, model in zip(PAPER_MARKERS, paper, strict=False)
    ]
    columns = zip_longest(above, below, fillvalue=Line2D([], [], ls="none", label=" "))
    return {
        "handles": [handle for column in columns for handle in column],
        "loc": "outside upper left",
        "ncols": max(len(above), len(below)),
        "columnspacing": 1.0,
        "handletextpad": 0.2,
    }


def _scores(contents: Contents, group: str) -> str:
    scores = {t: e for (g, t), e in contents.drawn(contents.base).items() if g == group}
    words = {t: "no head selected" if e is None else f"{e.value:+.2f}" for t, e in scores.items()}
    return ", ".join(f"{target} {told}" for target, told in words.items())

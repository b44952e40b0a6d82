"""Figures of information flow: accuracy with attention blocked, and where groups of
heads look.

They show what results hold. Intervals are 95 %.
"""

from collections.abc import Mapping

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from entrack.display import style
from entrack.display.cells import Picture
from entrack.display.style import ROLE_WORDS
from entrack.errors import SiteError
from entrack.paper import findings, published
from entrack.patching.attention_knockout import Knockouts
from entrack.patching.attention_mass import KINDS
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, ratio

Shares = Mapping[str, Mapping[str, float]]
KIND_WORDS = {
    "correct_object": "right object",
    "other_objects": "other objects",
    "prev_query_label": "earlier label",
    "after_prev_query_label": "after earlier label",
    "other_labels": "other labels",
    "query_label": "query label",
    "itself": "itself",
    "first": "first token",
    "rest": "all else",
}
NOT_THERE = "not in the paper"


def edge_words(edge: findings.Edge) -> str:
    """ "last token reads right object": an edge in words."""
    return f"{ROLE_WORDS[edge[0]]} reads {ROLE_WORDS[edge[1]]}"


def knockout_curves(found: Knockouts, *, version: str) -> Picture:
    """One panel per edge: accuracy, as a share of the unblocked, against the depth from which on
    the edge is blocked; dashed: the paper's Llama-7B. `version` gives colour and marker.
    """
    edges, told = list(found.hits), []
    n_rows = -(-len(edges) // 2)
    with style.look():
        figure, panels = plt.subplots(
            n_rows,
            2,
            sharex=True,
            sharey=True,
            figsize=(style.WIDTH, 1.9 * n_rows + 0.4),
            squeeze=False,
        )
        for axes, edge in zip(panels.flat, edges, strict=False):
            told.append(f"{edge_words(edge)}: {_curve(axes, found, edge, version)}")
        panels[0, 0].set(ylim=(-0.04, 1.25), xlim=(0, 1))
        figure.supxlabel("blocked from this depth up (share of layers)", fontsize=10)
        figure.supylabel("accuracy, share of unblocked", fontsize=10)
        colour, marker = style.version_colour(version), style.version_marker(version)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=found.model),
            Line2D([], [], color=style.NEUTRAL, ls="--", label="Llama-7B (paper)"),
        ]
        if len(edges) % 2:
            panels[-1, 1].set_axis_off()
            panels[-1, 1].legend(handles=handles, loc="center")
            for axes in panels[-2:-1, 1]:
                axes.tick_params(labelbottom=True)
        else:
            figure.legend(handles=handles, loc="outside upper left", ncols=2)
    intro = "Accuracy with one reading blocked, as a share of the unblocked accuracy. "
    return Picture(figure, f"{intro}{'; '.join(told)}.")


def readings_by_version(found: Mapping[str, Knockouts]) -> Picture:
    """A row per edge, a mark per version: the change in accuracy with the edge blocked in all
    layers, as a share of the version's unblocked accuracy.

    found: version -> what was blocked in it, the same edges in each.
    """
    edges, told = list(next(iter(found.values())).hits), []
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.62 * len(edges) + 1.2))
        for place, (version, one) in enumerate(found.items()):
            shares = [share_lost(one, edge) for edge in edges]
            shift = 0.7 * ((place + 0.5) / len(found) - 0.5)
            axes.errorbar(
                [share.value for share in shares],
                [row + shift for row in range(len(edges))],
                xerr=[[s.value - s.low for s in shares], [s.high - s.value for s in shares]],
                fmt=style.version_marker(version),
                color=style.version_colour(version),
                lw=1.2,
                label=version,
            )
            words = (f"{edge_words(e)} {s.value:+.2f}" for e, s in zip(edges, shares, strict=True))
            told.append(f"{version}: {', '.join(words)}")
        axes.axvline(0, color="black", lw=0.8)
        titles = [edge_words(edge).replace(" reads ", "\nreads ") for edge in edges]
        axes.set(yticks=range(len(edges)), yticklabels=titles, ylim=(len(edges) - 0.5, -0.5))
        axes.set_xlabel("change in accuracy, share of unblocked")
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=len(found))
    intro = "Change in accuracy with one reading blocked in all layers, as a share of unblocked. "
    return Picture(figure, f"{intro}{'; '.join(told)}.")


def share_lost(found: Knockouts, edge: findings.Edge) -> Estimate:
    """Change in accuracy with an edge blocked from the lowest first layer up, over the unblocked
    accuracy: 0 = nothing changes, -1 = no answer is right any more. NaN where none was.
    """
    change = found.hits[edge][0].astype(float) - found.plain
    return ratio(change, found.plain, clusters=found.scenes)


def attention_shares(groups: Mapping[str, Mapping[str, Estimate]], *, average: Shares) -> Picture:
    """One panel per group, two abreast: mean attention of its heads to each kind of token, a tick
    for the mean of all heads there.

    Args:
        groups: group name -> kind -> attention of its heads.
        average: group name -> kind -> attention of all heads at the group's token.

    Raises SiteError when there is no group.
    """
    if not groups:
        raise SiteError(
            "no group of the circuit has a head, so there is no attention to show; at least one is"
            " needed. Search with more pairs, or in a version that does the task."
        )
    n_rows = -(-len(groups) // 2)
    with style.look():
        figure, panels = plt.subplots(
            n_rows,
            2,
            sharex=True,
            sharey=True,
            figsize=(style.WIDTH, 2.6 * n_rows + 0.2),
            squeeze=False,
        )
        for axes in panels.flat[len(groups) :]:
            axes.set_visible(False)
        for axes, name in zip(panels.flat, groups, strict=False):
            _bars(axes, name, groups[name], average[name])
        for column in panels.T[: len(groups)]:
            # The last row may lack a panel.
            lowest = [axes for axes in column if axes.get_visible()][-1]
            lowest.tick_params(labelbottom=True)
        panels[0, 0].invert_yaxis()
        figure.supxlabel("share of attention", fontsize=10)
    told = []
    for name, found in groups.items():
        top = sorted(KINDS, key=lambda kind: -found[kind].value)[:2]
        words = " and ".join(f"{KIND_WORDS[k]} ({found[k].value:.2f})" for k in top)
        told.append(f"{GROUPS[name].title}s look at {words}")
    return Picture(figure, f"Attention by group. {'; '.join(told)}.")


def _curve(axes: Axes, found: Knockouts, edge: findings.Edge, version: str) -> str:
    """Draw one edge; returns its lowest point in words."""
    colour, marker = style.version_colour(version), style.version_marker(version)
    estimates, plain = found.accuracy(edge), found.plain.mean()
    depth = [layer / found.n_layers for layer in found.layers]
    low, high = [e.low / plain for e in estimates], [e.high / plain for e in estimates]
    axes.fill_between(depth, low, high, color=colour, alpha=0.25, lw=0)
    axes.plot(depth, [e.value / plain for e in estimates], color=colour, marker=marker, ms=3.5)
    axes.set_title(edge_words(edge).replace(" reads ", "\nreads "), fontsize=10)
    curve, told = findings.knockout_curve(edge), NOT_THERE
    if curve is not None:
        whole = published.table1().values[findings.RECEIVER].full
        shares = [accuracy / whole for accuracy in curve]
        depth = [layer / len(curve) for layer in range(len(curve))]
        axes.plot(depth, shares, color=style.NEUTRAL, ls="--")
        told = f"the paper {shares[0]:.2f}"
    return f"{estimates[0].value / plain:.2f} blocked everywhere, {told}"


def _bars(
    axes: Axes, name: str, shares: Mapping[str, Estimate], usual: Mapping[str, float]
) -> None:
    """The attention of one group to every kind of token, with that of all heads as ticks."""
    values, places = [shares[kind] for kind in KINDS], range(len(KINDS))
    axes.barh(
        places,
        [e.value for e in values],
        color=style.GROUPS[name],
        height=0.6,
        xerr=[[e.value - e.low for e in values], [e.high - e.value for e in values]],
        error_kw={"ecolor": "black", "elinewidth": 1},
    )
    ticks = {"ls": "none", "marker": "|", "ms": 13, "mew": 2, "color": style.NEUTRAL}
    axes.plot([usual[kind] for kind in KINDS], places, **ticks)
    axes.set_title(f"{GROUPS[name].letter} {GROUPS[name].title}")
    labels = [KIND_WORDS[kind] for kind in KINDS]
    axes.set(xlim=(0, 1), yticks=places, yticklabels=labels, xticks=[0, 0.5, 1])
    axes.grid(axis="y", visible=False)

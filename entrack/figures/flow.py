"""Figures of information flow: accuracy with attention blocked, and where groups of heads look.
Nothing is computed here.

Each function returns the figure and its alternative text. Intervals are 95 %.
"""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from entrack.display import style
from entrack.display.style import ROLE_WORDS
from entrack.model.sites import GROUPS
from entrack.patching.attention_knockout import Knockouts
from entrack.patching.attention_mass import KINDS
from entrack.stats.metrics import Estimate

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


def edge_words(edge: tuple[str, str]) -> str:
    """ "last token reads right object": an edge in words."""
    return f"{ROLE_WORDS[edge[0]]} reads {ROLE_WORDS[edge[1]]}"


def knockout_curves(
    found: Knockouts,
    *,
    version: str,
    paper: Mapping[str, Sequence[float]],
    paper_accuracy: float,
    paper_title: str,
) -> tuple[Figure, str]:
    """One panel per edge: accuracy, as a share of the unblocked, against the depth from which on
    the edge is blocked.

    Args:
        version: whose colour the measured curve takes.
        paper: "<from>_to_<to>" -> accuracy by first blocked layer.
        paper_accuracy: what the paper's model reaches with nothing blocked.
    """
    edges, plain = list(found.hits), found.plain.mean()
    told = []
    with style.look():
        figure, panels = plt.subplots(
            -(-len(edges) // 2),
            2,
            sharex=True,
            sharey=True,
            figsize=(5.6, 1.7 * -(-len(edges) // 2) + 0.4),
            squeeze=False,
        )
        for axes, edge in zip(panels.flat, edges, strict=False):
            estimates = found.accuracy(edge)
            depth = [layer / found.n_layers for layer in found.layers]
            colour = style.version_colour(version)
            axes.fill_between(
                depth,
                [e.low / plain for e in estimates],
                [e.high / plain for e in estimates],
                color=colour,
                alpha=0.25,
                lw=0,
            )
            axes.plot(
                depth,
                [e.value / plain for e in estimates],
                color=colour,
                marker=style.version_marker(version),
                ms=3.5,
            )
            published = paper.get("_to_".join(edge))
            if published is not None:
                axes.plot(
                    [i / len(published) for i in range(len(published))],
                    [y / paper_accuracy for y in published],
                    color=style.NEUTRAL,
                    ls="--",
                )
            axes.set_title(edge_words(edge).replace(" reads ", "\nreads "), fontsize=10)
            told.append(
                f"{edge_words(edge)}: {estimates[0].value / plain:.2f} blocked everywhere, "
                + (
                    "not in the paper"
                    if published is None
                    else f"the paper {published[0] / paper_accuracy:.2f}"
                )
            )
        panels[0, 0].set(ylim=(-0.04, 1.25), xlim=(0, 1))
        figure.supxlabel("blocked from this depth up (share of layers)", fontsize=10)
        figure.supylabel("accuracy, share of unblocked", fontsize=10)
        handles = [
            plt.Line2D(
                [],
                [],
                color=style.version_colour(version),
                marker=style.version_marker(version),
                label=found.model,
            ),
            plt.Line2D([], [], color=style.NEUTRAL, ls="--", label=paper_title),
        ]
        if len(edges) % 2:
            panels[-1, 1].set_axis_off()
            panels[-1, 1].legend(handles=handles, loc="center")
            for axes in panels[-2:-1, 1]:
                axes.tick_params(labelbottom=True)
        else:
            figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return (
        figure,
        "Accuracy with one reading blocked, as a share of the unblocked accuracy. "
        + "; ".join(told)
        + ".",
    )


def attention_shares(
    groups: Mapping[str, Mapping[str, Estimate]], *, average: Mapping[str, Mapping[str, float]]
) -> tuple[Figure, str]:
    """One panel per group, two abreast: mean attention of its heads to each kind of token, a tick
    for the mean of all heads there.

    Args:
        groups: group name -> kind -> attention of its heads.
        average: group name -> kind -> attention of all heads at the group's token.
    """
    with style.look():
        n_rows = -(-len(groups) // 2)
        figure, panels = plt.subplots(
            n_rows, 2, sharex=True, sharey=True, figsize=(5.4, 2.5 * n_rows + 0.2), squeeze=False
        )
        for axes in panels.flat[len(groups) :]:
            axes.set_visible(False)
        for axes, (name, found) in zip(panels.flat, groups.items(), strict=False):
            colour = style.GROUPS[name]
            values = [found[kind] for kind in KINDS]
            axes.barh(
                range(len(KINDS)),
                [e.value for e in values],
                color=colour,
                height=0.6,
                xerr=[[e.value - e.low for e in values], [e.high - e.value for e in values]],
                error_kw={"ecolor": "black", "elinewidth": 1},
            )
            axes.plot(
                [average[name][kind] for kind in KINDS],
                range(len(KINDS)),
                ls="none",
                marker="|",
                ms=13,
                mew=2,
                color=style.NEUTRAL,
            )
            axes.set_title(f"{GROUPS[name].letter} {GROUPS[name].title}")
            axes.set(
                xlim=(0, 1),
                yticks=range(len(KINDS)),
                yticklabels=[KIND_WORDS[kind] for kind in KINDS],
                xticks=[0, 0.5, 1],
            )
            axes.grid(axis="y", visible=False)
        panels[0, 0].invert_yaxis()
        figure.supxlabel("share of attention", fontsize=10)
    told = []
    for name, found in groups.items():
        top = sorted(KINDS, key=lambda kind: -found[kind].value)[:2]
        told.append(
            f"{GROUPS[name].title}s look at "
            + " and ".join(f"{KIND_WORDS[k]} ({found[k].value:.2f})" for k in top)
        )
    return figure, "Attention by group. " + "; ".join(told) + "."

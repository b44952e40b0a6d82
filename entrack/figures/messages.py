"""Figure of messages between versions: who follows whose.

It shows what results hold; nothing is computed here. Intervals are 95 %, over scenes.
"""

from collections.abc import Mapping

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entrack.cross_model.messages import BASE, CELLS, TUNED, Messages
from entrack.display import style
from entrack.display.cells import Picture
from entrack.stats.metrics import Difference

SHIFT = 0.16
"""Between the rows of one version's two receivers."""


def followed(found: Mapping[str, Messages], *, patches: Mapping[str, str]) -> Picture:
    """A panel per patch, a row per tuned version: how often each receiver follows each sender,
    above its floor. Colour and marker: the sender. Full marks: the tuned version receives; hollow:
    base does.

    Args:
        found: tuned version -> its messages with base.
        patches: which, with their titles.
    """
    versions, base = list(found), next(iter(found.values())).base
    with style.look():
        figure, panels = plt.subplots(
            1,
            len(patches),
            sharex=True,
            sharey=True,
            figsize=(style.WIDTH, 0.62 * len(versions) + 1.5),
            squeeze=False,
        )
        for axes, (patch, title) in zip(panels[0], patches.items(), strict=True):
            axes.set_title(title, fontsize=10)
            axes.axvline(0, color="black", lw=0.8)
            for row, version in enumerate(versions):
                _row(axes, found[version], patch, row)
            axes.set(ylim=(len(versions) - 0.5, -0.5), xlabel="above floor")
            axes.grid(axis="y", visible=False)
        panels[0, 0].set_yticks(range(len(versions)), versions)
        figure.legend(
            handles=[
                _key(base, "sent by base", hollow=False),
                *(_key(m.tuned, f"sent by {v}", hollow=False) for v, m in found.items()),
                _key("", "received by base", hollow=True),
                _key("", "received by the version", hollow=False),
            ],
            loc="outside lower center",
            ncols=3,
        )
    told = "; ".join(
        f"{version}, {title}: {_words(messages, patch)}"
        for version, messages in found.items()
        for patch, title in patches.items()
    )
    return Picture(figure, f"How often a sender's message is followed, above floor. {told}.")


def _row(axes: Axes, messages: Messages, patch: str, row: int) -> None:
    names = {BASE: messages.base, TUNED: messages.tuned}
    for sender, receiver in CELLS:
        place = row + (SHIFT if receiver == TUNED else -SHIFT)
        score = messages.score(sender, receiver, patch)
        _mark(axes, score, place, names[sender], hollow=receiver == BASE)


def _mark(axes: Axes, score: Difference, place: float, sender: str, *, hollow: bool) -> None:
    colour = style.version_colour(sender)
    axes.errorbar(
        [score.value],
        [place],
        xerr=[[score.value - score.low], [score.high - score.value]],
        fmt=style.version_marker(sender),
        color=colour,
        markerfacecolor="none" if hollow else colour,
        lw=1.2,
    )


def _key(sender: str, label: str, *, hollow: bool):
    colour = style.version_colour(sender) if sender else style.NEUTRAL
    marker = style.version_marker(sender) if sender else "o"
    return plt.Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        ls="none",
        markerfacecolor="none" if hollow else colour,
        label=label,
    )


def _words(messages: Messages, patch: str) -> str:
    return ", ".join(
        f"{sender} to {receiver} {messages.score(sender, receiver, patch).value:+.2f}"
        for sender, receiver in CELLS
    )

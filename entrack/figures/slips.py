"""Figure and tables of slips: every one off and on, and what it did to the published numbers.

They show what results hold; nothing is computed here. Intervals are 95 %.
"""

from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entrack.display import style
from entrack.display.cells import Picture
from entrack.paper.slip import Slip
from entrack.stats.metrics import Estimate

OFF, ON = style.GROUPS["value_fetcher"], style.GROUPS["position_detector"]


def slip_bars(slips: Sequence[Slip]) -> Picture:
    """Every slip off (circle) and on (diamond), all shares between 0 and 1."""
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 0.48 * len(slips) + 1.0))
        for place, slip in enumerate(slips):
            ends = [slip.off.value, slip.on.value]
            axes.plot(ends, [place, place], color=style.NEUTRAL, lw=1.2, zorder=1)
            _mark(axes, slip.off, place - 0.13, OFF, "o")
            _mark(axes, slip.on, place + 0.13, ON, "D")
        labels = [slip.title.replace(": ", ":\n") for slip in slips]
        axes.set(yticks=range(len(slips)), yticklabels=labels, xlabel="share")
        axes.invert_yaxis()
        marks = axes.containers[:2]
        names = ["off: as it should be", "on: as released"]
        axes.legend(marks, names, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    told = [f"{slip.title}: {slip.off.value:.2f} becomes {slip.on.value:.2f}" for slip in slips]
    return Picture(figure, f"{'; '.join(told)}.")


def _mark(axes: Axes, estimate: Estimate, place: float, colour: str, marker: str) -> None:
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    error = [[max(0.0, below)], [max(0.0, above)]]
    axes.errorbar([estimate.value], [place], xerr=error, fmt=marker, color=colour, lw=1.2)

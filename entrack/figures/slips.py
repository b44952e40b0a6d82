"""Figure and tables of slips: every one off and on, and what it did to the published numbers.

They show what results hold; nothing is computed here. Intervals are 95 %.
"""

from collections.abc import Collection, Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entrack.display import style
from entrack.display.cells import Picture
from entrack.paper import published
from entrack.paper.slip import Slip, shown
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


def slip_rows(slips: Sequence[Slip]) -> list[list[str]]:
    """A row per slip: off, on, the change, and whether it is beyond chance."""
    return [
        [slip.title, shown(slip.off), shown(slip.on), _change(slip), _beyond(slip)]
        for slip in slips
    ]


def known_rows(tried: Collection[str]) -> list[list[str | None]]:
    """A row per slip that is known of: where it stands, what it did to the published numbers, and
    whether its name is among those `tried` here.
    """
    return [
        [s["title"], s["where"], s["effect"], "measured above" if s["name"] in tried else None]
        for s in published.slips().values
    ]


def published_effects() -> dict[str, str]:
    """What the paper's own numbers say of a slip, by the slug of the claim about it."""
    titles = {name: entry["title"] for name, entry in published.models().values.items()}
    void = [
        cell["label"].mean
        for row in published.activation_patching().values.values()
        for groups in row.values()
        for cell in groups.values()
    ]
    floor = published.dcm().values["llama"]["value_fetcher"]["position"].accuracy
    altered = published.variations().values["altered_box_obj_order"]
    kept = []
    for model in ("goat", "float"):
        groups = published.minimality().values[model].values()
        at_0, at_1 = (
            sum(getattr(group, f"kept_at_{percent}_percent") for group in groups)
            for percent in (0, 1)
        )
        kept.append(f"{at_0} against {at_1} heads in {titles[model]}")
    return {
        "slip_label": f"in the paper at most {max(void):.2f} % in all {len(void)} cells",
        "slip_position": f"in the paper {floor:.3f} with no head patched",
        "slip_padded": (
            f"in the paper {altered.dcm_accuracy:.2f} becomes {altered.patched.mean / 100:.2f}"
        ),
        "slip_threshold": f"in the paper {' and '.join(kept)}",
    }


def _change(slip: Slip) -> str:
    """With its sign; never "-0.00"."""
    change = slip.change
    if change.low == change.high:
        return f"{round(change.value, 2) + 0.0:+.2f}"
    return f"{change:+.2f}"


def _beyond(slip: Slip) -> str:
    if slip.counted:
        return "exact count"
    return "yes" if slip.clear else "no"


def _mark(axes: Axes, estimate: Estimate, place: float, colour: str, marker: str) -> None:
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    error = [[max(0.0, below)], [max(0.0, above)]]
    axes.errorbar([estimate.value], [place], xerr=error, fmt=marker, color=colour, lw=1.2)

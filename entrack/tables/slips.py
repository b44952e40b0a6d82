"""Tables of the slips of the released code: off, on, and what changes."""

from collections.abc import Collection, Sequence

from entrack.display.tables import Table
from entrack.paper import published
from entrack.paper.slip import Slip, shown


def switched(slips: Sequence[Slip], caption: str) -> Table:
    """A row per slip: off, on, the change, and whether it is beyond chance."""
    return Table(
        [[s.title, shown(s.off), shown(s.on), _change(s), _beyond(s)] for s in slips],
        ["slip: what is measured", "off", "on", "change", "beyond chance"],
        caption,
    )


def known(tried: Collection[str]) -> Table:
    """A row per slip that is known of: where it stands, what it did to the published numbers, and
    whether its name is among those `tried` here.
    """
    return Table(
        [
            [s["title"], s["where"], s["effect"], "measured above" if s["name"] in tried else None]
            for s in published.slips().values
        ],
        ["slip", "in the released code", "in the paper's numbers", "here"],
        "All slips that we know of, and what they did to the released numbers",
    )


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

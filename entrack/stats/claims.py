"""How a claim of the paper is judged: one rule for every chapter, applied to an interval and never
by hand.
"""

from collections.abc import Sequence

from entrack.stats.metrics import LEVEL, Difference, Estimate

VERDICTS = REPLICATES, PARTLY, DOES_NOT, UNDECIDED, NOT_RUN = (
    "replicates",
    "partly",
    "does not replicate",
    "undecided",
    "not run",
)
OF_OURS = {REPLICATES: "holds", DOES_NOT: "does not hold"}
"""What the first and the third are called for a claim of this book: one that nobody made before
cannot replicate.
"""
MARGIN = 0.05


def verdict(estimate: Estimate, *, expected: int, margin: float = MARGIN) -> str:
    """Whether a difference replicates a claim about its sign.

    Args:
        estimate: the difference measured here, with its interval.
        expected: +1 or -1 for a claim that it is positive or negative, 0 for a claim that there is
            none.
        margin: how large a difference still counts as none.

    Returns:
        For a claimed sign: "replicates" if the whole interval lies on the claimed side of 0, "does
        not replicate" if it ends before `margin` on that side (what is left counts as none, or has
        the other sign), else "undecided". For a
        claim of none: "replicates" if the whole interval lies within `margin` of 0, "does not
        replicate" if it lies wholly outside, else "undecided".
    """
    if expected:
        low, high = sorted((expected * estimate.low, expected * estimate.high))
        return REPLICATES if low > 0 else DOES_NOT if high < margin else UNDECIDED
    if -margin <= estimate.low and estimate.high <= margin:
        return REPLICATES
    return DOES_NOT if estimate.low > margin or estimate.high < -margin else UNDECIDED


def overall(verdicts: Sequence[str]) -> str:
    """One verdict for a claim about several versions, from the `verdict` of each.

    "replicates" when it does in all, "partly" when in some, "does not replicate" when in none and
    clearly not in some, "undecided" when in none and not clearly in any, "not run" when there are
    none."""
    if not verdicts:
        return NOT_RUN
    if REPLICATES in verdicts:
        return REPLICATES if set(verdicts) == {REPLICATES} else PARTLY
    return DOES_NOT if DOES_NOT in verdicts else UNDECIDED


def of_ours(found: str) -> str:
    """A verdict in the words for a claim of this book (`OF_OURS`)."""
    return OF_OURS.get(found, found)


def direction(estimate: Estimate) -> str:
    """Where the interval of a difference lies: "higher" or "lower" than 0, or "no clear difference"
    across it.
    """
    return "higher" if estimate.low > 0 else "lower" if estimate.high < 0 else "no clear difference"


def clear_direction(gain: Difference) -> str:
    """The `direction` of a paired difference if the sign test agrees: few scenes make an interval
    too narrow.
    """
    return direction(gain) if gain.p_value < 1 - LEVEL else "no clear difference"

"""How a claim of the paper is judged: one rule for every chapter, applied to an interval and never by hand."""

from entrack.metrics import Estimate

AGREES, DISAGREES, UNDECIDED, NOT_RUN = "agrees", "disagrees", "undecided", "not run"
MARGIN = 0.05


def verdict(estimate: Estimate, *, expected: int, margin: float = MARGIN) -> str:
    """Whether a difference agrees with a claim about its sign.

    Args:
        estimate: the difference measured here, with its interval.
        expected: +1 or -1 for a claim that it is positive or negative, 0 for a claim that there is none.
        margin: how large a difference still counts as none.

    Returns:
        For a claimed sign: "agrees" if the whole interval lies on the claimed side of 0, "disagrees" if it ends before
        `margin` on that side (what is left counts as none, or has the other sign), else "undecided". For a claim of
        none: "agrees" if the whole interval lies within `margin` of 0, "disagrees" if it lies wholly outside, else
        "undecided".
    """
    if expected:
        low, high = sorted((expected * estimate.low, expected * estimate.high))
        return AGREES if low > 0 else DISAGREES if high < margin else UNDECIDED
    if -margin <= estimate.low and estimate.high <= margin:
        return AGREES
    return DISAGREES if estimate.low > margin or estimate.high < -margin else UNDECIDED


def direction(estimate: Estimate) -> str:
    """Where the interval of a difference lies: "higher" or "lower" than 0, or "no clear difference" across it."""
    return "higher" if estimate.low > 0 else "lower" if estimate.high < 0 else "no clear difference"

"""A slip of the released code: one quantity with the slip off and on, and how much it changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from entrack.stats.metrics import Difference, Estimate, difference, mean


@dataclass(frozen=True)
class Slip:
    """One quantity with a slip off and on.

    Attributes:
        name: of the slip, as in `published.slips`.
        title: the slip and what is measured, for a figure.
        off, on: the quantity as it should be, and as the released code has it; shares between 0 and
            1. An interval of no width is an exact count.
        paired: on less off, prompt by prompt; None where the two have no prompts in common.
    """

    name: str
    title: str
    off: Estimate
    on: Estimate
    paired: Difference | None = None

    @property
    def change(self) -> Estimate:
        """On less off: paired where it can be, exact for counts. Else the interval is that of two
        independent estimates (the squares of their distances to their limits add up).
        """
        if self.paired is not None:
            return self.paired
        value = self.on.value - self.off.value
        below = hypot(self.on.value - self.on.low, self.off.high - self.off.value)
        above = hypot(self.on.high - self.on.value, self.off.value - self.off.low)
        return Estimate(value, value - below, value + above, min(self.on.n, self.off.n))

    @property
    def clear(self) -> bool:
        """Whether the interval of the change excludes 0: the slip does more than chance."""
        return self.change.excludes(0)

    @property
    def counted(self) -> bool:
        """Whether both are exact counts, which chance has no part in."""
        return self.off.low == self.off.high and self.on.low == self.on.high


def paired(
    name: str,
    title: str,
    off: np.ndarray,
    on: np.ndarray,
    *,
    clusters: Sequence[int] | None = None,
    estimates: tuple[Estimate, Estimate] | None = None,
    share: bool = True,
) -> Slip:
    """A slip measured on the same examples, `off` and `on` [example].

    `estimates` of both sides, by default their means: of hits or shares, else without `share`.
    """
    if estimates is None:
        estimates = tuple(mean(side, clusters=clusters, share=share) for side in (off, on))
    return Slip(name, title, *estimates, paired=difference(on, off, clusters=clusters))


def shown(estimate: Estimate) -> str:
    """ "0.66 [0.62, 0.70]", or "0.66" for an exact count."""
    return f"{estimate.value:.2f}" if estimate.low == estimate.high else f"{estimate:.2f}"

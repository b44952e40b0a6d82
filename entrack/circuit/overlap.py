"""Do two circuits consist of the same heads? Overlap per group against chance, and correlation of
score maps.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from entrack.circuit.discovery import Discovery
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.sites import GROUPS
from entrack.stats import metrics
from entrack.stats.metrics import Estimate


@dataclass(frozen=True)
class Excess(Estimate):
    """Shared heads beyond those expected by chance: an exact count, with the p-value of chance."""

    p_value: float


@dataclass(frozen=True)
class Overlap:
    """Shared heads of one group of two circuits.

    Attributes:
        group: name of the group.
        first, second: number of heads in each circuit's group; shared: in both.
        by_chance: shared heads expected if the second were drawn at random from all heads.
        p_value: chance of at least `shared` shared heads in such a draw (hypergeometric).
    """

    group: str
    first: int
    second: int
    shared: int
    by_chance: float
    p_value: float

    @property
    def excess(self) -> Excess:
        """Shared heads less those expected by chance."""
        more = self.shared - self.by_chance
        return Excess(more, more, more, self.second, p_value=self.p_value)


def overlaps(first: Circuit, second: Circuit, *, n_heads: int) -> list[Overlap]:
    """One `Overlap` per group; `n_heads` is the number of heads in the whole model."""
    found = []
    for name in GROUPS:
        a, b = set(first.groups[name]), set(second.groups[name])
        shared = len(a & b)
        p_value = stats.hypergeom.sf(shared - 1, n_heads, len(a), len(b)) if a and b else 1.0
        found.append(
            Overlap(name, len(a), len(b), shared, len(a) * len(b) / n_heads, float(p_value))
        )
    return found


def rank_correlation(first: Discovery, second: Discovery, *, group: str) -> Estimate | None:
    """Spearman's correlation of two score maps of one stage, over the heads that have a path in
    both; None for fewer than five such heads, or where all scores of a map are the same.

    Raises SiteError when the models have different numbers of heads.
    """
    a, b = first.scores[group].grid(), second.scores[group].grid()
    if a.shape != b.shape:
        raise SiteError(
            f"score maps of {a.shape} and {b.shape} heads; only maps of one architecture compare."
            " Use versions of one family."
        )
    reached = np.isfinite(a) & np.isfinite(b)
    a, b = a[reached], b[reached]
    if len(a) < 5 or not np.ptp(a) or not np.ptp(b):
        return None
    return metrics.rank_correlation(a, b)

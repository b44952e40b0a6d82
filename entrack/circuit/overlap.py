"""Do two circuits consist of the same heads? Overlap per group against chance, and correlation of
score maps.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from entrack.circuit.discovery import Discovery
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.model.sites import GROUPS


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


def rank_correlation(first: Discovery, second: Discovery, *, group: str) -> float:
    """Spearman's correlation of two score maps of one stage, over the heads that have a path in
    both.

    Raises SiteError when the models have different numbers of heads.
    """
    a, b = first.scores[group].grid(), second.scores[group].grid()
    if a.shape != b.shape:
        raise SiteError(
            f"score maps of {a.shape} and {b.shape} heads; only maps of one architecture compare."
            " Use versions of one family."
        )
    reached = np.isfinite(a) & np.isfinite(b)
    return float(stats.spearmanr(a[reached], b[reached]).statistic)

"""Rank correlation of a few numbers, such as one for each version of a family."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import stats

from entrack.errors import ConfigError
from entrack.stats.metrics import Estimate

EXACT = 8
"""Up to so many numbers every order is tried: 40,320 of them."""


@dataclass(frozen=True)
class RankOrder(Estimate):
    """Spearman's rank correlation with its interval.

    Attributes:
        p_value: chance of a correlation as large or larger when all orders are equally likely
            (one-sided; exact up to `EXACT` numbers).
    """

    p_value: float


def rising(first: Sequence[float], second: Sequence[float]) -> RankOrder | None:
    """Whether the numbers of `second` rise with those of `first`, by their ranks: 1 = always, -1 =
    they always fall. None for fewer than four numbers, or where one row is constant.

    The interval is that of Bonett and Wright 2000, as in `metrics.rank_correlation`. It has no
    width for a perfect order, which is absurd with five numbers; there the correlation counts as
    half a swap of two neighbours less than perfect. Raises ConfigError for rows of unlike length or
    with NaN."""
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if x.shape != y.shape or np.isnan([*x, *y]).any():
        raise ConfigError(
            f"ranks of {len(x)} and {len(y)} numbers; both rows need the same length, and no NaN."
            " Leave out what was not measured on both sides."
        )
    n = len(x)
    if n < 4 or not np.ptp(x) or not np.ptp(y):
        return None
    value = round(float(stats.spearmanr(x, y).statistic), 12)
    # Two neighbours swapped take 12 / (n^3 - n) from a perfect correlation.
    most = 1 - 6 / (n**3 - n)
    spread = 1.96 * np.sqrt((1 + value**2 / 2) / (n - 3))
    centre = np.arctanh(np.clip(value, -most, most))
    low, high = (float(np.tanh(centre + side * spread)) for side in (-1, 1))
    low, high = min(low, value), max(high, value)
    return RankOrder(value, low, high, n, p_value=_chance(x, y, value))


def orders(n: int) -> int:
    """In how many orders `n` numbers can stand; one of them agrees perfectly with another row."""
    return int(np.prod(np.arange(1, n + 1)))


def _chance(x: np.ndarray, y: np.ndarray, value: float) -> float:
    """Share of the orders of `y` that correlate with `x` as `value` does, or more."""
    if len(x) > EXACT:
        return float(stats.spearmanr(x, y, alternative="greater").pvalue)
    ranks = stats.rankdata(x) - (len(x) + 1) / 2
    every = np.array(list(permutations(stats.rankdata(y) - (len(y) + 1) / 2)))
    found = every @ ranks / np.sqrt((ranks**2).sum() * (every[0] ** 2).sum())
    return float((found >= value - 1e-9).mean())

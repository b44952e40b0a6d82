"""One number per example, and what many of them say: estimates that carry their interval.

Prompts of one scene share a context, so where several boxes of a scene are asked for, whole
scenes (`clusters`) are what varies. Comparisons are paired: the same prompts on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from entrack.errors import ConfigError

LEVEL = 0.95
ROUNDING = 1e-9  # below any spread of hits, of which one in n units differs: some 1 / n


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval [low, high] and the number of examples `n` behind it.

    `f"{e:.2f}"` prints "0.66 [0.62, 0.70]"; with a percent format all three are percentages.
    """

    value: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Whether the interval leaves `value` out."""
        return not self.low <= value <= self.high


@dataclass(frozen=True)
class Difference(Estimate):
    """A paired difference, first minus second, with a two-sided p-value of no difference.

    Attributes:
        better, worse: on how many prompts the first, or the second, is the larger of the two.
        p_value: exact sign test on the prompts where the two differ (McNemar's test for hits), or
            on the scenes where they differ when there are clusters.
    """

    better: int
    worse: int
    p_value: float


def rate(hits: Sequence[bool] | np.ndarray, *, clusters: Sequence[int] | None = None) -> Estimate:
    """Share of `hits` [example] that are true: Wilson's interval, or that of `mean` over `clusters`
    [example].
    """
    hits = _checked(np.asarray(hits, dtype=float))
    if clusters is None:
        interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="wilson")
        return Estimate(float(hits.mean()), float(interval.low), float(interval.high), len(hits))
    return mean(hits, clusters=clusters, share=True)


def mean(
    values: Sequence[float] | np.ndarray,
    *,
    clusters: Sequence[int] | None = None,
    share: bool = False,
) -> Estimate:
    """Mean of `values` [example] with the t interval over examples, or over `clusters` [example].

    Examples of one cluster (the boxes of one scene) are not independent: with clusters, their sums
    are what varies, and the t distribution has one degree of freedom less than there are clusters.
    In simulations of few scenes this covers 95 %, where resampling them covers less.

    With `share` the values are hits, or shares of each example: the interval ends at 0 and 1. Where
    no unit of hits differs from another there is no spread to estimate; then it follows the rule of
    three: what was not seen in n units has a rate of at most 3 / n. The units are the scenes, not
    their prompts, since hits that never vary do not tell how alike the prompts of one scene are: in
    simulations this covers 95 % whether prompts share their scene's fate or not, while counting
    prompts misses most truths where they do. Values without `share`, such as changes of a log
    probability, that are all equal have an interval of width 0.
    """
    values = _checked(np.asarray(values, dtype=float))
    hits = share and _are_hits(values)
    return _mean(values, clusters, least=0.0 if share else None, hits=hits)


def difference(
    first: np.ndarray, second: np.ndarray, *, clusters: Sequence[int] | None = None
) -> Difference:
    """Paired difference `first - second` [example], with the interval of `mean`."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ConfigError(
            f"a paired difference of {len(first)} and {len(second)} examples; both sides need the"
            " same prompts. Score both models on one set."
        )
    hits = _are_hits(first) and _are_hits(second)
    change = _checked(first - second)
    estimate = _mean(change, clusters, least=-1.0 if hits else None, hits=hits)
    units = change if clusters is None else _sums(change, clusters)[0]
    better, worse = int((units > 0).sum()), int((units < 0).sum())
    p_value = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    return Difference(
        estimate.value,
        estimate.low,
        estimate.high,
        estimate.n,
        better=int((change > 0).sum()),
        worse=int((change < 0).sum()),
        p_value=float(p_value),
    )


def ratio(
    numerator: np.ndarray, denominator: np.ndarray, *, clusters: Sequence[int] | None = None
) -> Estimate:
    """Ratio of two means over the same examples, e.g. faithfulness F(C)/F(M).

    The interval is the t interval of the linearised ratio (delta method), paired and over clusters
    as in `mean`. Where hits, or their differences, follow the ratio in every unit, the rule of
    three says how much of the numerator may have gone unseen: 3 / n, over the denominator. NaN when
    the denominator's mean is 0. Neither mean is rounded first. Raises ConfigError when the two
    sides have another length.
    """
    top, bottom = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    if top.shape != bottom.shape:
        raise ConfigError(
            f"a ratio of {len(top)} and {len(bottom)} examples; both sides need the same prompts."
            " Score both on one set."
        )
    if _checked(bottom).mean() == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(top))
    value = float(top.mean() / bottom.mean())
    spread = _half_width(top - value * bottom, clusters)
    if spread < ROUNDING and np.isin([*top, *bottom], (-1, 0, 1)).all():
        spread = 3 / _n_units(top, clusters)
    spread /= abs(bottom.mean())
    return Estimate(value, value - spread, value + spread, len(top))


def exact(value: float, *, n: int = 1) -> Estimate:
    """A number that has no sampling error, such as a count or a depth, as an estimate."""
    return Estimate(float(value), float(value), float(value), n)


def minus(estimate: Estimate, constant: float) -> Estimate:
    """An estimate less a number without error, such as chance."""
    return Estimate(
        estimate.value - constant, estimate.low - constant, estimate.high - constant, estimate.n
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Spearman's rank correlation of two rows of numbers, with Fisher's interval for ranks.

    NaN when one row is constant. Raises ConfigError for rows of another length or of fewer than
    five numbers, which have no useful interval.
    """
    if len(first) != len(second) or len(first) < 5:
        raise ConfigError(
            f"a rank correlation of {len(first)} and {len(second)} numbers; both rows need the same"
            " length, five at least. Compare more."
        )
    value = float(stats.spearmanr(first, second).statistic)
    # Bonett and Wright 2000: the variance of Fisher's z of a rank correlation.
    spread = 1.96 * np.sqrt((1 + value**2 / 2) / (len(first) - 3))
    centre = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return Estimate(
        value, float(np.tanh(centre - spread)), float(np.tanh(centre + spread)), len(first)
    )


def relative_change(patched: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """(p_patched - p_clean) / p_clean from natural-log probabilities, any shapes that broadcast.

    0 = no effect, -1 = the answer is gone, positive = the patch helps (paper, section 4.1).
    """
    return np.expm1(patched - clean)


def log_odds_change(patched: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Change of log(p / (1 - p)) in nats, from natural-log probabilities, any shapes that
    broadcast.

    0 = no effect, negative = the answer became less likely. Probabilities closer to 1 than 1e-6
    count as that close."""

    def log_odds(log_prob: np.ndarray) -> np.ndarray:
        exact = np.asarray(log_prob, dtype=np.float64)
        return exact - np.log(np.maximum(-np.expm1(exact), 1e-6))

    return log_odds(patched) - log_odds(clean)


def _checked(values: np.ndarray) -> np.ndarray:
    if values.size == 0:
        raise ConfigError(
            "no examples to estimate from; at least one is needed. Ask for more prompts."
        )
    return values


def _mean(
    values: np.ndarray, clusters: Sequence[int] | None, *, least: float | None, hits: bool
) -> Estimate:
    """`least`: the smallest value that a share, or a difference of hits, can have; None for others.
    `hits`: whether the values are hits or a difference of hits.
    """
    spread = _half_width(values, clusters)
    if hits and spread < ROUNDING:
        spread = 3 / _n_units(values, clusters)
    low, high = values.mean() - spread, values.mean() + spread
    if least is not None:
        low, high = max(low, least), min(high, 1.0)
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def _are_hits(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def _n_units(values: np.ndarray, clusters: Sequence[int] | None) -> int:
    return len(values) if clusters is None else len(set(np.asarray(clusters).tolist()))


def _half_width(values: np.ndarray, clusters: Sequence[int] | None) -> float:
    """Half the t interval of the mean of `values`; unequal clusters count by their size."""
    sums, sizes = (values, np.ones(len(values))) if clusters is None else _sums(values, clusters)
    n = len(sums)
    if n < 2:
        return float("inf") if np.ptp(values) else 0.0
    left = sums - sums.sum() / sizes.sum() * sizes
    error = np.sqrt(n / (n - 1) * (left**2).sum()) / sizes.sum()
    return float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * error)


def _sums(values: np.ndarray, clusters: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster."""
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(member, weights=values), np.bincount(member).astype(float)

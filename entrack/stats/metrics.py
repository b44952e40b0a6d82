"""One number per example, and what many of them say: estimates that carry their interval.

Prompts of one scene share a context, so where several boxes of a scene are asked for, intervals
resample whole scenes (`clusters`). Comparisons are paired: the same prompts on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from entrack.errors import ConfigError

LEVEL = 0.95
DRAWS = 4000


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
    """Share of `hits` [example] that are true: Wilson's interval, or a bootstrap over `clusters`
    [example].
    """
    hits = _checked(np.asarray(hits, dtype=float))
    if clusters is None:
        interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="wilson")
        return Estimate(float(hits.mean()), float(interval.low), float(interval.high), len(hits))
    return mean(hits, clusters=clusters)


def mean(
    values: Sequence[float] | np.ndarray, *, clusters: Sequence[int] | None = None
) -> Estimate:
    """Mean of `values` [example] with a percentile bootstrap over examples, or over `clusters`
    [example].

    Hits that are all 0 or all 1 leave nothing to resample. Their interval follows the rule of
    three: what was not seen in n examples has a rate of at most 3 / n."""
    return _mean(values, clusters, least=0.0)


def _mean(
    values: Sequence[float] | np.ndarray, clusters: Sequence[int] | None, *, least: float
) -> Estimate:
    """`least`: the smallest value that a hit, or a difference of hits, can have."""
    values = _checked(np.asarray(values, dtype=float))
    low, high = np.quantile(_bootstrap(values, clusters), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if np.ptp(values) == 0 and values[0] in (least, 0.0, 1.0):
        low, high = max(low - 3 / len(values), least), min(high + 3 / len(values), 1.0)
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def difference(
    first: np.ndarray, second: np.ndarray, *, clusters: Sequence[int] | None = None
) -> Difference:
    """Paired difference `first - second` [example], bootstrapped as in `mean`."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ConfigError(
            f"a paired difference of {len(first)} and {len(second)} examples; both sides need the"
            " same prompts. Score both models on one set."
        )
    change = first - second
    estimate = _mean(change, clusters, least=-1.0)
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
    """Ratio of two means over the same examples, e.g. faithfulness F(C)/F(M): paired bootstrap, as
    in `mean`.

    NaN when the denominator's mean is 0. Neither mean is rounded first.
    """
    top, bottom = (_checked(np.asarray(values, dtype=float)) for values in (numerator, denominator))
    tops, bottoms = _bootstrap(top, clusters), _bootstrap(bottom, clusters)  # the same draws
    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    if bottom.mean() == 0 or len(ratios) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(top))
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(top.mean() / bottom.mean()), float(low), float(high), len(top))


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


def _bootstrap(values: np.ndarray, clusters: Sequence[int] | None) -> np.ndarray:
    """Resampled means [draw]; the seed is fixed so that an interval is the same every time."""
    generator = np.random.default_rng(0)
    if clusters is None:
        return values[generator.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    sums, sizes = _sums(values, clusters)
    draws = generator.integers(len(sums), size=(DRAWS, len(sums)))
    return sums[draws].sum(1) / sizes[draws].sum(1)


def _sums(values: np.ndarray, clusters: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster."""
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(member, weights=values), np.bincount(member).astype(float)

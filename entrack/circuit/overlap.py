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


STRONGEST = 5
"""Heads of a group that are called its strongest."""
N_DRAWS = 1000
"""Resamples of pairs behind an interval, and shuffles behind chance."""


@dataclass(frozen=True)
class Likeness:
    """How alike two score maps of one stage are, over the heads that have a path in both (ours).

    Attributes:
        group: name of the group.
        shared: how many of the `STRONGEST` heads of the first are among those of the second.
        by_chance, p_value: shared heads expected, and the chance of at least `shared`, when the
            effects of the second are shuffled among the heads of each layer.
        correlation: Pearson's correlation of the two maps; its interval is over pairs of prompts.
        rest: the same without the strongest heads of the first.
        shuffled: the mean correlation after shuffling.
        draws: correlations of resampled pairs, those of one first map resampled alike [draw].
    """

    group: str
    shared: int
    by_chance: float
    p_value: float
    correlation: Estimate
    rest: Estimate
    shuffled: float
    draws: np.ndarray

    @property
    def beyond(self) -> Estimate:
        """The correlation less that after shuffling: what is more than the same layers."""
        return metrics.minus(self.correlation, self.shuffled)

    def share_of(self, ceiling: "Likeness") -> Estimate:
        """The correlation over that of `ceiling`, a second search in the first model on other
        prompts: 1 = as alike as two searches in one model. Both share the first map.
        """
        value = self.correlation.value / ceiling.correlation.value
        # Quantiles, for a resampled ceiling near 0 gives a share without bounds.
        low, high = np.quantile(self.draws / ceiling.draws, [0.025, 0.975])
        half = float(high - low) / 2
        return Estimate(value, value - half, value + half, self.correlation.n)


def likeness(first: Discovery, second: Discovery, *, group: str, seed: int = 0) -> Likeness | None:
    """Compare the score maps of one stage; None for fewer than 4 * `STRONGEST` heads that have a
    path in both.

    Raises SiteError when the models have different numbers of heads.
    """
    maps = [found.scores[group].values for found in (first, second)]
    if maps[0].shape[:2] != maps[1].shape[:2]:
        raise SiteError(
            f"score maps of {maps[0].shape[:2]} and {maps[1].shape[:2]} heads; only maps of one"
            " architecture compare. Use versions of one family, or families of one model."
        )
    reached = np.isfinite(maps[0]).all(-1) & np.isfinite(maps[1]).all(-1)
    if reached.sum() < 4 * STRONGEST:
        return None
    layers, (a, b) = np.nonzero(reached)[0], (m[reached] for m in maps)  # [head example]
    best, rest = _strongest(a.mean(1)), np.ones(len(a), dtype=bool)
    rest[list(best)] = False
    generator = np.random.default_rng(seed)
    drawn = [_resampled(values, generator) for values in (a, b)]
    draws = _pearson(*drawn)
    within = _shuffled(b.mean(1), layers, generator)
    hits = np.array([len(best & _strongest(row)) for row in within])
    shared, n = len(best & _strongest(b.mean(1))), min(a.shape[1], b.shape[1])
    pair = [values.mean(1)[None] for values in (a, b)]
    whole, others = _pearson(*pair)[0], _pearson(*(values[:, rest] for values in pair))[0]
    return Likeness(
        group=group,
        shared=shared,
        by_chance=float(hits.mean()),
        p_value=float((1 + (hits >= shared).sum()) / (1 + len(hits))),
        correlation=_interval(whole, draws, n),
        rest=_interval(others, _pearson(*(values[:, rest] for values in drawn)), n),
        shuffled=float(_pearson(pair[0], within).mean()),
        draws=draws,
    )


def _strongest(effects: np.ndarray) -> set[int]:
    """Places of the most helpful heads: the most negative effects."""
    return set(np.argsort(effects, kind="stable")[:STRONGEST].tolist())


def _resampled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mean effects over pairs drawn anew [draw head]."""
    n = values.shape[1]
    return generator.multinomial(n, np.full(n, 1 / n), size=N_DRAWS) @ values.T / n


def _shuffled(effects: np.ndarray, layers: np.ndarray, generator: np.random.Generator):
    """The effects, shuffled among the heads of each layer [draw head]."""
    found = np.tile(effects, (N_DRAWS, 1))
    for layer in np.unique(layers):
        found[:, layers == layer] = generator.permuted(found[:, layers == layer], axis=1)
    return found


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of the rows of two tables; a single row goes with every row of the other."""
    a, b = (x - x.mean(1, keepdims=True) for x in (first, second))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def _interval(value: float, draws: np.ndarray, n: int) -> Estimate:
    """A correlation with an interval as wide as its resamples spread, on Fisher's scale. They are
    not its centre: noise that is drawn twice lowers a correlation.
    """
    half = 1.96 * float(np.std(np.arctanh(draws)))
    low, high = (float(np.tanh(np.arctanh(value) + side * half)) for side in (-1, 1))
    return Estimate(float(value), low, high, n)

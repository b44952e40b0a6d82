"""Learned masks over heads: how they are learned, and what came out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entrack.errors import ConfigError
from entrack.sites import Head


@dataclass(frozen=True)
class DCMConfig:
    """How masks are learned and one of them is chosen.

    Attributes:
        penalties: price of a patched head, in logits of the expected answer; one mask is learned
            for each.
        learning_rate: of Adam.
        steps, batch: number of steps, and pairs per step.
        every: the rounded masks are noted for validation every so many steps; 0 = at the end only.
        seeds: each draws its own order of training pairs.
        prefer: which mask is chosen among those that validate equally well, the one of "fewer" or
            of "more" heads.
        slack: what "equally well" is: within so many standard errors of the best validation score.
    """

    penalties: tuple[float, ...] = (0.01, 0.1, 0.3, 1.0)
    learning_rate: float = 0.1
    steps: int = 16
    batch: int = 14
    every: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    prefer: str = "fewer"
    slack: float = 1.0

    def __post_init__(self) -> None:
        for penalty in self.penalties:
            if not 0 <= penalty < math.inf:
                raise ConfigError(f"penalty {penalty}; it is a price, 0 or more. Use 0.01, say.")
        for name, values in (("penalties", self.penalties), ("seeds", self.seeds)):
            if not values:
                raise ConfigError(f"no {name}; at least one is needed. Give some.")
        for name, low in (("steps", 1), ("batch", 1), ("every", 0)):
            if getattr(self, name) < low:
                raise ConfigError(
                    f"{name} {getattr(self, name)}; allowed are {low} and more. Use a larger"
                    " number."
                )
        if self.prefer not in ("fewer", "more"):
            raise ConfigError(
                f"prefer {self.prefer!r}; allowed are 'fewer' and 'more'. Use one of them."
            )


@dataclass(frozen=True)
class MaskPath:
    """The masks of one seed, from many heads to few.

    Attributes:
        weights: W at the end of training [penalty head], 1 = kept, 0 = taken from the source.
        noted: rounded masks to choose from, no two alike, the empty one first [mask head]; True =
            patched.
        validation: share of validation pairs with the expected answer [mask].
        penalty: index of the penalty that gave a mask, -1 for the empty one [mask].
    """

    weights: np.ndarray
    noted: np.ndarray
    validation: np.ndarray
    penalty: np.ndarray

    def chosen(self, config: DCMConfig, n: int) -> int:
        """Index of the mask that `config` prefers, for validation scores over `n` pairs."""
        best = self.validation.max()
        near = np.flatnonzero(
            self.validation >= best - config.slack * math.sqrt(best * (1 - best) / n) - 1e-9
        )
        sizes = self.noted[near].sum(1)
        wanted = near[sizes == (sizes.min() if config.prefer == "fewer" else sizes.max())]
        return int(wanted[self.validation[wanted].argmax()])


@dataclass(frozen=True)
class Masks:
    """What DCM finds for one group and one desideratum.

    Attributes:
        group, target: the group, and the candidate that counts as the expected answer.
        heads: the group's heads, the axis of all masks.
        paths: one per seed.
        n_validation: pairs behind the validation scores.
        config: the settings.
    """

    group: str
    target: str
    heads: tuple[Head, ...]
    paths: tuple[MaskPath, ...]
    n_validation: int
    config: DCMConfig

    def selected(self, seed: int) -> frozenset[Head]:
        """The heads that the mask of a seed (its index) takes from the source."""
        path = self.paths[seed]
        return self._heads(path.noted[path.chosen(self.config, self.n_validation)])

    def agreed(self) -> tuple[Head, ...]:
        """The heads that more than half of the seeds select."""
        return tuple(h for h in self.heads if self.frequency(h) > 0.5)

    def frequency(self, head: Head) -> float:
        """Share of the seeds that select a head."""
        return sum(head in self.selected(s) for s in range(len(self.paths))) / len(self.paths)

    def stability(self) -> float:
        """Mean overlap of the heads of two seeds, shared heads divided by all of both; 1 = always
        the same.

        Two empty selections are the same. NaN with a single seed.
        """
        chosen = [self.selected(s) for s in range(len(self.paths))]
        pairs = [(a, b) for i, a in enumerate(chosen) for b in chosen[i + 1 :]]
        return (
            float(np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs]))
            if pairs
            else float("nan")
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of patched heads and validation score of every mask of every seed, by number."""
        sizes = np.concatenate([path.noted.sum(1) for path in self.paths])
        scores = np.concatenate([path.validation for path in self.paths])
        order = np.lexsort((scores, sizes))
        return sizes[order], scores[order]

    def _heads(self, mask: np.ndarray) -> frozenset[Head]:
        return frozenset(h for h, patched in zip(self.heads, mask, strict=True) if patched)

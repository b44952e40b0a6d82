"""What is patched between base and source prompts, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from entrack.sites import Head
from entrack.stats.metrics import Difference, Estimate, difference, rate


@dataclass(frozen=True)
class Patch:
    """What is taken from the source: some heads' outputs at a role, or the whole residual stream
    there.

    Attributes:
        role: token role, each prompt's own.
        heads: the heads whose outputs are replaced.
        resid: instead of heads, replace the residual stream that enters this layer.
    """

    role: str
    heads: tuple[Head, ...] = ()
    resid: int | None = None

    @property
    def start(self) -> int | None:
        """The lowest layer that the patch touches; None when it touches none."""
        return (
            self.resid
            if self.resid is not None
            else min((h.layer for h in self.heads), default=None)
        )


@dataclass(frozen=True)
class Patched:
    """Answers of several patched versions of one model on the same pairs.

    Attributes:
        patches: name -> what was patched.
        candidates: name of an idea -> the token it predicts [example].
        answers: the most likely token [patch example], patches in the order of `patches`.
        unpatched: the most likely token with nothing patched [example].
        scenes: which base scene each example belongs to [example]; intervals are over scenes.
        model: name of the model.
    """

    patches: Mapping[str, Patch]
    candidates: Mapping[str, np.ndarray]
    answers: np.ndarray
    unpatched: np.ndarray
    scenes: np.ndarray
    model: str

    def hits(self, patch: str, candidate: str) -> np.ndarray:
        """Whether the patched answer is the candidate's [example]."""
        return self.answers[list(self.patches).index(patch)] == self.candidates[candidate]

    def score(self, patch: str, candidate: str) -> Estimate:
        """Share of pairs that answer as the candidate predicts."""
        return rate(self.hits(patch, candidate), clusters=self._clusters)

    def floor(self, candidate: str) -> Estimate:
        """The same share with nothing patched."""
        return rate(self.unpatched == self.candidates[candidate], clusters=self._clusters)

    def above_floor(self, patch: str, candidate: str) -> Difference:
        """Score less floor, pair by pair."""
        return difference(
            self.hits(patch, candidate),
            self.unpatched == self.candidates[candidate],
            clusters=self._clusters,
        )

    def lead(self, patch: str, first: str, second: str) -> Difference:
        """By how much the first candidate's score exceeds the second's, on the same runs."""
        return difference(
            self.hits(patch, first), self.hits(patch, second), clusters=self._clusters
        )

    def shares(self, patch: str | None) -> dict[str, float]:
        """Share of pairs per candidate, and "other" for the rest; None = nothing patched."""
        answers = self.unpatched if patch is None else self.answers[list(self.patches).index(patch)]
        found = {
            name: float((answers == tokens).mean()) for name, tokens in self.candidates.items()
        }
        return {**found, "other": max(0.0, 1 - sum(found.values()))}

    @property
    def _clusters(self) -> np.ndarray | None:
        return None if len(np.unique(self.scenes)) == len(self.scenes) else self.scenes

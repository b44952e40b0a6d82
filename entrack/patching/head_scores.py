"""One score per head and example: what path patching gives, and what circuits are ranked by."""

from dataclasses import dataclass

import numpy as np

from entrack.sites import Head
from entrack.stats.metrics import Estimate, mean


@dataclass(frozen=True)
class HeadScores:
    """One score per head and example.

    Attributes:
        values: [layer head example]. NaN where the head has no causal path to what is measured.
        unit: what the numbers are, with their sign.
        baseline: the unpatched quantity the score is relative to [example].
        label: what was patched, e.g. "value_fetcher senders at last -> logits".
    """

    values: np.ndarray
    unit: str
    baseline: np.ndarray
    label: str

    def grid(self) -> np.ndarray:
        """Mean over examples [layer head]."""
        return self.values.mean(-1)

    def estimate(self, head: Head) -> Estimate:
        """Mean effect of one head with its interval."""
        return mean(self.values[head.layer, head.head])

    def ranked(self) -> list[Head]:
        """Heads with a causal path, the most negative mean first (the paper's order)."""
        grid = self.grid()
        order = np.argsort(np.where(np.isnan(grid), np.inf, grid), axis=None, kind="stable")
        heads = [Head(*map(int, divmod(int(i), grid.shape[1]))) for i in order]
        return [h for h in heads if not np.isnan(grid[h.layer, h.head])]

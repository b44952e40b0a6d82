"""Does the circuit miss anything? Take heads K away from the circuit and from the model, and
compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import score_circuits, score_removed
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.sites import GROUPS
from entrack.stats.metrics import Difference, difference
from entrack.store.results import stored
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class Completeness:
    """Both sides for every K, on the same prompts.

    Attributes:
        removed: the sets K, as circuits.
        labels: "group A", "random 3", "greedy 2".
        circuit_hits: whether the circuit less K answers right [K example].
        model_hits: whether the whole model less K does [K example].
    """

    removed: tuple[Circuit, ...]
    labels: tuple[str, ...]
    circuit_hits: np.ndarray
    model_hits: np.ndarray

    def gap(self, index: int) -> Difference:
        """F(C without K) - F(M without K), paired. Far from 0 = the circuit is not complete."""
        return difference(self.circuit_hits[index], self.model_hits[index])

    def of(self, kind: str) -> list[int]:
        """Indices of the K of one kind: "group", "random" or "greedy"."""
        return [i for i, label in enumerate(self.labels) if label.startswith(kind)]

    def widest(self, kind: str) -> tuple[str, Difference]:
        """Label and gap of the K of one kind whose gap is farthest from 0."""
        gaps = {self.labels[i]: self.gap(i) for i in self.of(kind)}
        return max(gaps.items(), key=lambda item: abs(item[1].value))

    def mean_gap(self, kind: str) -> float:
        """Mean absolute gap over the K of one kind."""
        return float(np.mean([abs(self.gap(i).value) for i in self.of(kind)]))


def measure_completeness(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    means: Means,
    n_random: int = 10,
    n_greedy: int = 5,
    seed: int = 0,
) -> Completeness:
    """Whole groups, random K (each head with probability 1/2), and a K grown greedily to open the
    gap. Stored.

    The greedy search, which the released code lacks, adds at each of `n_greedy` steps that of six
    drawn heads which makes |F(C without K) - F(M without K)| largest.
    Raises SiteError for a circuit without heads.
    Cost: per K and prompt, three tokens (circuit) and the tokens from the earlier label on (model).
    """
    if not circuit.size:
        raise SiteError(
            f"the circuit of {circuit.model} has no heads, so none can be taken away; at least one"
            " is needed. Search with more prompts, or in a version that does the task."
        )
    return _measure(model, prompts, circuit, means, n_random, n_greedy, seed)


@stored("completeness")
def _measure(
    model: Model,
    prompts: Prompts,
    circuit: Circuit,
    means: Means,
    n_random: int,
    n_greedy: int,
    seed: int,
) -> Completeness:
    generator = np.random.default_rng(seed)
    items = [(name, head) for name in GROUPS for head in circuit.groups[name]]
    removed = [circuit.only(name) for name in GROUPS]
    labels = [f"group {g.letter}" for g in GROUPS.values()]
    for draw in range(n_random):
        kept = generator.random(len(items)) < 0.5
        removed.append(_subset(circuit, [item for item, k in zip(items, kept, strict=True) if k]))
        labels.append(f"random {draw + 1}")
    scores = _both(model, prompts, circuit, removed, means)
    grown: list = []
    for step in range(min(n_greedy, len(items))):
        left = [item for item in items if item not in grown]
        tried = [
            left[i] for i in generator.choice(len(left), size=min(6, len(left)), replace=False)
        ]
        sets = [_subset(circuit, [*grown, item]) for item in tried]
        found = _both(model, prompts, circuit, sets, means)
        best = int(np.abs(found[0].mean(1) - found[1].mean(1)).argmax())
        grown.append(tried[best])
        removed.append(sets[best])
        labels.append(f"greedy {step + 1}")
        scores = [
            np.concatenate([old, new[best : best + 1]])
            for old, new in zip(scores, found, strict=True)
        ]
    return Completeness(
        removed=tuple(removed), labels=tuple(labels), circuit_hits=scores[0], model_hits=scores[1]
    )


def _both(
    model: Model, prompts: Prompts, circuit: Circuit, removed: Sequence[Circuit], means: Means
) -> list[np.ndarray]:
    remaining = [
        replace(
            circuit,
            groups={
                n: tuple(h for h in circuit.groups[n] if h not in set(k.groups[n])) for n in GROUPS
            },
        )
        for k in removed
    ]
    return [
        score_circuits(model, prompts, circuits=remaining, means=means).hits,
        score_removed(model, prompts, removed=removed, means=means).hits,
    ]


def _subset(circuit: Circuit, items: Sequence) -> Circuit:
    return replace(circuit, groups={n: tuple(h for name, h in items if name == n) for n in GROUPS})

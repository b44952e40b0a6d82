"""Is every head of the circuit needed? The paper's minimality score, the interval of what a head
costs, and a plain leave-one-out alternative.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import score_without_heads
from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.sites import Head
from entrack.stats.metrics import Difference, Estimate, difference
from entrack.store.results import stored
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class MinimalityConfig:
    """How minimality is judged (paper, section 4.2 and appendix).

    Attributes:
        share: K is drawn from the top `share` of the pair effects (30 % in the paper).
        threshold: the paper keeps a head when its score reaches this (1 %).
    """

    share: float = 0.3
    threshold: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share {self.share}; allowed is 0 to 1. The paper uses 0.3.")


@dataclass(frozen=True)
class Minimality:
    """What each head of a candidate circuit contributes.

    Attributes:
        scores: group -> head -> F(C without K) / F(C without K and the head) - 1. 0 = the head adds
            nothing, negative = the circuit is better without it, inf = nothing is left without it.
        removed_first: group -> head -> the set K.
        rivals_gone: group -> hits of the circuit less K, and less K and the head
            [head two example].
        single: group -> hits of the circuit less one head [head example].
        single_log_prob: the same for the answer's log probability [head example].
        whole: hits of the candidate circuit [example]; whole_log_prob: its log probabilities.
        circuit: the candidate; threshold: the least score that the paper keeps.
    """

    scores: Mapping[str, Mapping[str, float]]
    removed_first: Mapping[str, Mapping[str, tuple[Head, ...]]]
    rivals_gone: Mapping[str, np.ndarray]
    single: Mapping[str, np.ndarray]
    single_log_prob: Mapping[str, np.ndarray]
    whole: np.ndarray
    whole_log_prob: np.ndarray
    circuit: Circuit
    threshold: float

    def cost(self, group: str, head: Head) -> Difference:
        """What leaving the head out costs when its rivals K are gone: accuracy, paired."""
        before, without = self.rivals_gone[group][self.circuit.groups[group].index(head)]
        return difference(before, without)

    def pruned(self) -> Circuit:
        """The candidate less every head whose score stays below the threshold, all removed
        together (the paper's rule).
        """
        return self._where(lambda group, head: self.scores[group][str(head)] >= self.threshold)

    def clear(self) -> Circuit:
        """The heads of the pruned circuit that clearly cost something: the interval of `cost` lies
        above 0. Ours. What the others do is seen only when all of them are taken away.
        """
        kept = self.pruned().groups
        return self._where(lambda group, h: h in kept[group] and self.cost(group, h).low > 0)

    def _where(self, wanted: Callable[[str, Head], bool]) -> Circuit:
        groups = self.circuit.groups.items()
        return replace(
            self.circuit,
            groups={name: tuple(h for h in heads if wanted(name, h)) for name, heads in groups},
        )

    def leave_one_out(self, group: str, head: Head) -> Estimate:
        """The plain alternative: what the head adds to the answer's log probability (nats), with
        its interval.
        """
        return difference(
            self.whole_log_prob, self.single_log_prob[group][self.circuit.groups[group].index(head)]
        )


def measure_minimality(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    means: Means,
    config: MinimalityConfig = MinimalityConfig(),
) -> Minimality:
    """Pair knock-outs within each group, then each head's score. Stored.

    Raises SiteError for a circuit with an empty group.
    Cost: about n**2 / 2 knock-outs for a group of n heads; each recomputes only the positions from
    the group's role on and the layers from its lowest head on."""
    for name, heads in circuit.groups.items():
        if not heads:
            raise SiteError(
                f"the group {name} of this circuit is empty, so it has no minimality; each group"
                " needs a head. Keep a larger share."
            )
    return _measure(model, prompts, circuit, means, config)


@stored("minimality")
def _measure(
    model: Model, prompts: Prompts, circuit: Circuit, means: Means, config: MinimalityConfig
) -> Minimality:
    pairs = {
        name: [(v, u) for i, v in enumerate(heads) for u in heads[i:]]
        for name, heads in circuit.groups.items()
    }
    # The last set of each group is empty: the whole circuit.
    tables = score_without_heads(
        model,
        prompts,
        circuit=circuit,
        means=means,
        removed={
            name: [*(tuple(sorted({v, u})) for v, u in found), ()] for name, found in pairs.items()
        },
    )
    whole = next(iter(tables.values()))
    single, single_log_prob, first = {}, {}, {}
    for name, heads in circuit.groups.items():
        accuracy = tables[name].hits.mean(1)
        index = {frozenset(pair): i for i, pair in enumerate(pairs[name])}
        alone = [index[frozenset([h])] for h in heads]
        single[name], single_log_prob[name] = tables[name].hits[alone], tables[name].log_prob[alone]
        first[name] = {}
        for v in heads:
            # How much more the loss of v hurts when u is gone too (paper, appendix on minimality).
            effect = {
                u: accuracy[index[frozenset([u])]] - accuracy[index[frozenset([v, u])]]
                for u in heads
                if u != v
            }
            best = sorted(effect, key=lambda u: (-effect[u], u))[
                : math.ceil(config.share * len(heads))
            ]
            first[name][str(v)] = tuple(sorted(u for u in best if effect[u] > 0))
    sets = {
        name: [s for v in heads for s in (first[name][str(v)], (*first[name][str(v)], v))]
        for name, heads in circuit.groups.items()
    }
    removed = score_without_heads(model, prompts, circuit=circuit, removed=sets, means=means)
    scores, rivals_gone = {}, {}
    for name, heads in circuit.groups.items():
        rivals_gone[name] = removed[name].hits.reshape(len(heads), 2, -1)
        scores[name] = {
            str(v): gain_of(*pair.mean(1)) for v, pair in zip(heads, rivals_gone[name], strict=True)
        }
    return Minimality(
        scores=scores,
        removed_first=first,
        rivals_gone=rivals_gone,
        single=single,
        single_log_prob=single_log_prob,
        whole=whole.hits[-1],
        whole_log_prob=whole.log_prob[-1],
        circuit=circuit,
        threshold=config.threshold,
    )


def gain_of(before: float, without: float) -> float:
    """Relative gain in accuracy that a head brings: accuracy before it goes over that without it,
    less 1. 0 = it brings nothing, inf = nothing is left without it.
    """
    if without == 0:
        return math.inf if before > 0 else 0.0
    return float(before / without - 1)

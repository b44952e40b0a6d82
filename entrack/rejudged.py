"""The heads of a circuit judged once more, on prompts that had no part in choosing them.

Pruning picks the rivals K of each head as those whose loss hurts most with it, and scores the head
on the same prompts, so a bit of luck is picked with them. Here K is that of the pruning, and the
scores come from other prompts: then their intervals mean what they say. Ours; the paper scores each
head on the prompts that chose its K.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import score_without_heads
from entrack.circuit.minimality import Minimality, gain_of
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.sites import Head
from entrack.stats.metrics import Difference, difference
from entrack.store.results import stored
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class Rejudged:
    """What each head of a circuit adds on other prompts.

    Attributes:
        circuit: whose heads.
        rivals: group -> head -> K, the rivals that the pruning found and that are in the circuit.
        hits: group -> right answers of the circuit less K, and less K and the head
            [head two example].
        threshold: the least score that the paper keeps.
    """

    circuit: Circuit
    rivals: Mapping[str, Mapping[Head, tuple[Head, ...]]]
    hits: Mapping[str, np.ndarray]
    threshold: float

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """group -> head -> the minimality score (paper, section 4.2): 0 = the head adds nothing,
        negative = the circuit is better without it, inf = nothing is left without it.
        """
        return {
            group: {
                str(head): gain_of(*pair.mean(1))
                for head, pair in zip(heads, self.hits[group], strict=True)
            }
            for group, heads in self.circuit.groups.items()
        }

    def cost(self, group: str, head: Head) -> Difference:
        """What leaving the head out costs when K is gone: accuracy, paired."""
        before, without = self.hits[group][self.circuit.groups[group].index(head)]
        return difference(before, without)

    def costs(self) -> list[Difference]:
        """The same for all heads, group by group."""
        return [self.cost(g, h) for g, heads in self.circuit.groups.items() for h in heads]

    def clear(self) -> Circuit:
        """The heads whose cost has an interval above 0; unlike `Minimality.clear`, whatever the
        score.
        """
        groups = {
            group: tuple(head for head in heads if self.cost(group, head).low > 0)
            for group, heads in self.circuit.groups.items()
        }
        return replace(self.circuit, groups=groups)


def rejudge(
    model: Model, prompts: Prompts, *, circuit: Circuit, pruning: Minimality, means: Means
) -> Rejudged:
    """Judge the heads of `circuit` on `prompts`, with the rivals that `pruning` found. Stored.

    Args:
        circuit: the candidate of `pruning`, or a part of it; a group may be empty.
        prompts: others than those of the pruning.

    Raises SiteError for a head that the pruning did not judge.
    Cost: two knock-outs for a head; each recomputes only the positions from its group's role on and
    the layers from the lowest head that is gone."""
    for group, heads in circuit.groups.items():
        unknown = [str(h) for h in heads if str(h) not in pruning.removed_first[group]]
        if unknown:
            raise SiteError(
                f"head {unknown[0]} of {group} was not judged by this pruning; allowed are the"
                " heads of its candidate circuit. Take the pruning of this circuit's own search."
            )
    rivals = {
        group: {
            h: tuple(k for k in pruning.removed_first[group][str(h)] if k in heads) for h in heads
        }
        for group, heads in circuit.groups.items()
    }
    removed = {
        group: [gone for h, k in of.items() for gone in (k, tuple(sorted((*k, h))))]
        for group, of in rivals.items()
        if of
    }
    hits = _hits(model, prompts, circuit, removed, means)
    empty = np.zeros((0, 2, len(prompts)), dtype=bool)
    return Rejudged(
        circuit=circuit,
        rivals=rivals,
        hits={group: hits.get(group, empty) for group in circuit.groups},
        threshold=pruning.threshold,
    )


@stored("rejudged")
def _hits(
    model: Model,
    prompts: Prompts,
    circuit: Circuit,
    removed: Mapping[str, Sequence[tuple[Head, ...]]],
    means: Means,
) -> dict[str, np.ndarray]:
    found = score_without_heads(model, prompts, circuit=circuit, removed=removed, means=means)
    return {group: scores.hits.reshape(-1, 2, len(prompts)) for group, scores in found.items()}

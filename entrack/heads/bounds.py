"""What a circuit is held against in a version: all heads at its tokens, random heads of the same
layers, and the version without its value fetchers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.completeness import hits_without
from entrack.circuit.faithfulness import Faithfulness, grow, measure_faithfulness
from entrack.circuits import Circuit
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import Estimate, mean, rate
from entrack.store.results import stored
from entrack.task.prompts import Prompts

FETCHERS = "value_fetcher"
ALL_CIRCUITS = "all circuits"


@dataclass(frozen=True)
class Bounded:
    """Circuits in one version, and what they are held against, on the same prompts.

    Attributes:
        scores: the circuits, the whole version, and random circuits from anywhere.
        ceiling: whether all heads at the first circuit's tokens alone answer right [example].
        floor: whether random heads do, in each layer and group as many as the first circuit has
            [draw example].
    """

    scores: Faithfulness
    ceiling: np.ndarray
    floor: np.ndarray

    def ceiling_accuracy(self) -> Estimate:
        """Accuracy of all heads at the circuit's tokens."""
        return rate(self.ceiling)

    def floor_accuracy(self) -> Estimate:
        """Mean accuracy of the random heads of the same layers; the interval is over prompts."""
        return mean(self.floor.mean(0), share=True)


def measure_bounded(
    model: Model,
    prompts: Prompts,
    *,
    circuits: Sequence[Circuit],
    means: Means,
    n_random: int,
) -> Bounded:
    """Run each circuit alone in `model`, all heads at the first one's tokens, `n_random` draws from
    the layers of the first, and as many from anywhere. Stored. Source: ours.

    All heads are a ceiling in what they may read and write, not in accuracy: some heads hurt.
    Cost: two passes per prompt, and three tokens per circuit, draw and prompt."""
    every = list(grow(circuits[0], model).values())[-1]
    drawn = [random_in_layers(model, circuits[0], seed=i) for i in range(n_random)]
    found = measure_faithfulness(
        model, prompts, circuits=[*circuits, every, *drawn], means=means, n_random=n_random
    )
    n = len(circuits)
    return Bounded(
        scores=replace(found, hits=found.hits[:n], circuits=tuple(circuits)),
        ceiling=found.hits[n],
        floor=found.hits[n + 1 :],
    )


def random_in_layers(model: Model, circuit: Circuit, *, seed: int) -> Circuit:
    """As many heads per group and layer as `circuit` has, drawn from all heads of the layer without
    replacement at each role; some of the circuit's own may be among them.
    """
    generator = np.random.default_rng(seed)
    groups: dict[str, list[Head]] = {name: [] for name in GROUPS}
    for role in dict.fromkeys(circuit.role(name) for name in GROUPS):
        names = [name for name in GROUPS if circuit.role(name) == role]
        for layer in range(model.n_layers):
            sizes = [sum(h.layer == layer for h in circuit.groups[name]) for name in names]
            drawn = generator.choice(model.n_heads, size=sum(sizes), replace=False)
            parts = np.split(drawn, np.cumsum(sizes)[:-1])
            for name, part in zip(names, parts, strict=True):
                groups[name] += sorted(Head(layer, int(head)) for head in part)
    kept = {name: tuple(heads) for name, heads in groups.items()}
    return Circuit(kept, model.name, circuit.structure_role)


@dataclass(frozen=True)
class WithoutFetchers:
    """One version, less value fetchers, on the same prompts.

    Attributes:
        hits: whether the answer is right, by what was taken away [example]: "nothing", the name of
            a circuit that was taken apart, or `ALL_CIRCUITS`.
        n_heads: how many heads were taken away, by the same names.
        random: the same for as many heads as all circuits have, drawn from their layers
            [draw example].
    """

    hits: Mapping[str, np.ndarray]
    n_heads: Mapping[str, int]
    random: np.ndarray

    def accuracy(self, name: str) -> Estimate:
        """Share of right answers."""
        return rate(self.hits[name])

    def random_accuracy(self) -> Estimate:
        """Mean over the draws; the interval is over prompts."""
        return mean(self.random.mean(0), share=True)


def without_fetchers(
    model: Model,
    prompts: Prompts,
    *,
    circuits: Mapping[str, Circuit],
    apart: Iterable[str],
    means: Means,
    n_random: int,
) -> WithoutFetchers:
    """Mean-ablate the value fetchers of all `circuits` together at the last token, those of the
    circuits that `apart` names by themselves, and `n_random` draws of as many heads as all have
    from their layers. Stored. Source: ours.

    Each search may have missed some fetchers, and all together miss fewer. So a version that goes
    on without those of all has heads that stand in, or that no search keeps. A circuit without
    value fetchers takes nothing away. A draw may hold some of the fetchers: it is a floor of what
    any heads of these layers cost.
    Cost: a pass per prompt, and the tokens of the question per set and prompt."""
    fetchers = {name: circuit.only(FETCHERS) for name, circuit in circuits.items()}
    heads = tuple(sorted({h for circuit in fetchers.values() for h in circuit.groups[FETCHERS]}))
    some = next(iter(fetchers.values()))
    every = replace(some, groups={**some.groups, FETCHERS: heads})
    removed = {"nothing": some.without(FETCHERS, heads), ALL_CIRCUITS: every}
    removed |= {name: fetchers[name] for name in apart if name in fetchers}
    drawn = [random_in_layers(model, every, seed=seed) for seed in range(n_random)]
    hits = _without(model, prompts, [*removed.values(), *drawn], means)
    return WithoutFetchers(
        hits=dict(zip(removed, hits, strict=False)),
        n_heads={name: circuit.size for name, circuit in removed.items()},
        random=hits[len(removed) :],
    )


@stored("without-fetchers")
def _without(
    model: Model, prompts: Prompts, removed: Sequence[Circuit], means: Means
) -> np.ndarray:
    return hits_without(model, prompts, removed=removed, means=means)

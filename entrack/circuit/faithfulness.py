"""Does the circuit alone do what the model does? Faithfulness, with random circuits as a
control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import score_circuits
from entrack.circuit.discovery import Discovery
from entrack.circuits import Circuit
from entrack.model.activations import Means
from entrack.model.answers import answers_of
from entrack.model.decoder import Model
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import Difference, Estimate, difference, mean, rate, ratio
from entrack.store.results import stored
from entrack.task.prompts import Prompts

TARGET = 0.95  # faithfulness that a candidate circuit must reach


@dataclass(frozen=True)
class Faithfulness:
    """Circuits and the whole model on the same prompts.

    Attributes:
        full: whether the whole model answers right [example].
        hits: whether each circuit alone does [circuit example].
        random: whether random circuits of the same group sizes do [draw example]; no rows when none
            were drawn.
        circuits: the circuits, in the order of `hits`.
        model: name of the model they were run in.
    """

    full: np.ndarray
    hits: np.ndarray
    random: np.ndarray
    circuits: tuple[Circuit, ...]
    model: str

    def accuracy(self, index: int = 0) -> Estimate:
        """Accuracy of one circuit alone, F(C)."""
        return rate(self.hits[index])

    def full_accuracy(self) -> Estimate:
        """Accuracy of the whole model, F(M)."""
        return rate(self.full)

    def faithfulness(self, index: int = 0) -> Estimate:
        """F(C) / F(M), not rounded before the division; above 1 when ablating the rest helps."""
        return ratio(self.hits[index], self.full)

    def random_accuracy(self) -> Estimate:
        """Mean accuracy of the random circuits; the interval is over prompts."""
        return mean(self.random.mean(0))

    def over_random(self, index: int = 0) -> Difference:
        """Accuracy of one circuit less the mean of the random ones, on the same prompts."""
        return difference(self.hits[index], self.random.mean(0))


def measure_faithfulness(
    model: Model,
    prompts: Prompts,
    *,
    circuits: Sequence[Circuit],
    means: Means,
    n_random: int = 0,
) -> Faithfulness:
    """Run each circuit alone, `n_random` random circuits of the first one's sizes, and the whole
    model. Stored.

    Cost: two passes per prompt, and three tokens per circuit and prompt.
    """
    drawn = [random_circuit(model, circuits[0], seed=i) for i in range(n_random)]
    return _measure(model, prompts, circuits, drawn, means)


@stored("faithfulness")
def _measure(
    model: Model,
    prompts: Prompts,
    circuits: Sequence[Circuit],
    random: Sequence[Circuit],
    means: Means,
) -> Faithfulness:
    hits = score_circuits(model, prompts, circuits=[*circuits, *random], means=means).hits
    return Faithfulness(
        full=_whole(model, prompts),
        hits=hits[: len(circuits)],
        random=hits[len(circuits) :],
        circuits=tuple(circuits),
        model=model.name,
    )


def grow(circuit: Circuit, model: Model) -> dict[str, Circuit]:
    """The circuit; the circuit with all heads of `model` in one group, each in turn; and with all
    heads in all groups. By a name for each, as tables show it.
    """
    heads = range(model.n_heads)
    every = tuple(Head(layer, head) for layer in range(model.n_layers) for head in heads)
    grown = {
        f"all heads for {group.letter}": replace(circuit, groups={**circuit.groups, name: every})
        for name, group in GROUPS.items()
    }
    full = replace(circuit, groups=dict.fromkeys(GROUPS, every))
    return {"the circuit": circuit, **grown, "all heads for all groups": full}


@stored("whole")
def _whole(model: Model, prompts: Prompts) -> np.ndarray:
    """Whether the whole model answers right [example]; apart, because many circuits are compared
    with it.
    """
    return answers_of(model, prompts).hit[:, 0].cpu().numpy()


def random_circuit(model: Model, circuit: Circuit, *, seed: int) -> Circuit:
    """As many heads per group as `circuit` has, drawn from all heads without replacement at each
    role.
    """
    generator = np.random.default_rng(seed)
    groups: dict[str, tuple[Head, ...]] = {}
    for role in dict.fromkeys(circuit.role(n) for n in GROUPS):
        names = [n for n in GROUPS if circuit.role(n) == role]
        sizes = [len(circuit.groups[n]) for n in names]
        drawn = generator.choice(model.n_layers * model.n_heads, size=sum(sizes), replace=False)
        for name, part in zip(names, np.split(drawn, np.cumsum(sizes)[:-1]), strict=True):
            groups[name] = tuple(
                sorted(Head(*map(int, divmod(int(i), model.n_heads))) for i in part)
            )
    return Circuit(groups, model.name, circuit.structure_role)


@dataclass(frozen=True)
class SizeCurve:
    """Accuracy of candidate circuits of growing size, on the pruning split.

    Attributes:
        shares: share of each group's helpful effect that a candidate keeps.
        scores: their accuracies beside the whole model's.
        chosen: index of the chosen candidate.
    """

    shares: tuple[float, ...]
    scores: Faithfulness
    chosen: int

    @property
    def circuit(self) -> Circuit:
        """The chosen candidate."""
        return self.scores.circuits[self.chosen]


def choose_size(
    model: Model,
    prompts: Prompts,
    *,
    discovery: Discovery,
    means: Means,
    shares: Sequence[float],
) -> SizeCurve:
    """The smallest candidate circuit whose faithfulness on held-out prompts reaches TARGET; if
    none does, the smallest that is not clearly less accurate than the best (paired interval
    includes 0). The rule replaces the paper's hand-picked group sizes."""
    candidates = [discovery.candidate(share) for share in shares]
    scores = measure_faithfulness(model, prompts, circuits=candidates, means=means)
    accuracies = scores.hits.mean(1)
    enough = np.flatnonzero(accuracies >= TARGET * scores.full.mean())
    if not len(enough):
        best = scores.hits[accuracies.argmax()]
        enough = [i for i, hits in enumerate(scores.hits) if not difference(hits, best).high < 0]
    chosen = int(enough[0])
    return SizeCurve(shares=tuple(shares), scores=scores, chosen=chosen)

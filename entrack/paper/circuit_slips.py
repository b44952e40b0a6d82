"""Slips of pruning and evaluation: thresholds, rounding, samples used twice, random circuits.

Each is switched on and off on the same model and, where it can be, the same runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import AblationScores, score_circuits, score_without_heads
from entrack.circuit.faithfulness import Faithfulness, random_circuit
from entrack.circuit.minimality import MinimalityConfig, gain_of
from entrack.circuits import Circuit
from entrack.errors import ConfigError
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.paper.slip import Slip, paired
from entrack.sites import Head
from entrack.stats.metrics import Estimate, exact, mean
from entrack.store.results import stored
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class PruningScores:
    """Minimality scores of one group, from one set of knock-outs read in four ways.

    Attributes:
        heads: candidates of the group.
        scores: way -> score [head]: "plain"; "rounded" (accuracies to two decimals); "is_not" (two
            heads of one number in different layers never removed together); "both".
    """

    heads: tuple[Head, ...]
    scores: dict[str, np.ndarray]

    def kept(self, way: str, threshold: float) -> Estimate:
        """Share of the candidates that stay."""
        return exact((self.scores[way] >= threshold).mean(), n=len(self.heads))


def pruning_scores(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    group: str,
    means: Means,
) -> PruningScores:
    """Minimality of one group, plain and with the released code's rounding and `is not`. Stored.

    Plain, the scores are those of `minimality.measure_minimality`; the pair knock-outs are shared
    by the four ways."""
    return _pruning(model, prompts, circuit, group, means)


@stored("slip-pruning")
def _pruning(
    model: Model, prompts: Prompts, circuit: Circuit, group: str, means: Means
) -> PruningScores:
    heads = circuit.groups[group]
    pairs = [frozenset((v, u)) for i, v in enumerate(heads) for u in heads[i:]]

    def accuracy(sets: Sequence) -> dict:
        found = score_without_heads(
            model, prompts, circuit=circuit, means=means, removed={group: [tuple(s) for s in sets]}
        )[group]
        return dict(zip(sets, found.hits.mean(1), strict=True))

    table = accuracy(pairs)
    rivals = {
        way: {v: _rivals(v, heads, table, way) for v in heads}
        for way in ("plain", "rounded", "is_not", "both")
    }
    wanted = {
        frozenset(k) | extra
        for way in rivals.values()
        for v, k in way.items()
        for extra in (frozenset(), frozenset([v]))
    }
    if missing := sorted(wanted - set(table), key=sorted):
        table |= accuracy(missing)
    scores = {
        way: np.array(
            [_score(table[frozenset(k)], table[frozenset(k) | {v}], way) for v, k in chosen.items()]
        )
        for way, chosen in rivals.items()
    }
    return PruningScores(heads=heads, scores=scores)


def _rivals(v: Head, heads: Sequence[Head], table: dict, way: str) -> tuple[Head, ...]:
    """The set K of `v`: those whose loss makes its own loss hurt most."""

    def read(u: Head) -> float:
        together = (
            frozenset([v]) if way in ("is_not", "both") and u.head == v.head else frozenset([v, u])
        )
        return _rounded(table[together], way)

    effect = {u: _rounded(table[frozenset([u])], way) - read(u) for u in heads if u != v}
    n_rivals = math.ceil(MinimalityConfig().share * len(heads))
    best = sorted(effect, key=lambda u: (-effect[u], u))[:n_rivals]
    return tuple(u for u in best if effect[u] > 0)


def _rounded(accuracy: float, way: str) -> float:
    return round(float(accuracy), 2) if way in ("rounded", "both") else float(accuracy)


def _score(before: float, without: float, way: str) -> float:
    return gain_of(_rounded(before, way), _rounded(without, way))


def pruning_slips(found: PruningScores) -> list[Slip]:
    """Three slips of the pruning, as the share of candidate heads that it keeps."""
    return [
        Slip(
            "threshold_mixed",
            "pruned at 0 % instead of 1 %: heads kept",
            found.kept("plain", 0.01),
            found.kept("plain", 0.0),
        ),
        Slip(
            "rounding",
            "accuracies rounded: heads kept",
            found.kept("plain", 0.01),
            found.kept("rounded", 0.01),
        ),
        Slip(
            "is_not",
            "pairs of one head number skipped: heads kept",
            found.kept("plain", 0.01),
            found.kept("is_not", 0.01),
        ),
    ]


def rounded_faithfulness(scores: Faithfulness) -> Slip:
    """Faithfulness from accuracies rounded to two decimals first; the interval is that of the exact
    one.

    Raises ConfigError when the model answers no prompt right.
    """
    _check_right(scores)
    on = round(float(scores.hits[0].mean()), 2) / round(float(scores.full.mean()), 2)
    return Slip(
        "rounding",
        "accuracies rounded: faithfulness",
        scores.faithfulness(0),
        exact(on, n=len(scores.full)),
    )


def _check_right(scores: Faithfulness) -> None:
    if not scores.full.any():
        raise ConfigError(
            f"{scores.model} answers none of {len(scores.full)} prompts right, so no circuit can be"
            " faithful to it; some right answers are needed. Use a version that does the task."
        )


def sample_overlap(held_out: Faithfulness, pruned_on: Faithfulness) -> Slip:
    """Faithfulness on unseen prompts (off), and on the prompts that the circuit was pruned on
    (on). The prompts differ, so nothing is paired.

    Raises ConfigError when the model answers no prompt right.
    """
    _check_right(held_out)
    _check_right(pruned_on)
    return Slip(
        "sample_overlap",
        "evaluated on the pruning prompts: faithfulness",
        held_out.faithfulness(0),
        pruned_on.faithfulness(0),
    )


def random_with_replacement(
    model: Model, prompts: Prompts, *, circuit: Circuit, means: Means, n_draws: int, seed: int = 0
) -> list[Slip]:
    """Random circuits drawn without (off) and with replacement (on): how large they are, and how
    accurate.
    """
    generator = np.random.default_rng(seed)
    off = [random_circuit(model, circuit, seed=seed + i) for i in range(n_draws)]
    on = []
    for _ in range(n_draws):
        drawn = {
            name: generator.integers(model.n_layers * model.n_heads, size=len(heads))
            for name, heads in circuit.groups.items()
        }
        groups = {
            n: tuple(sorted({Head(*map(int, divmod(int(i), model.n_heads))) for i in numbers}))
            for n, numbers in drawn.items()
        }
        on.append(replace(circuit, groups=groups, model=model.name))
    found = _circuit_scores(model, prompts, [*off, *on], means)
    sizes = mean(np.array([c.size / circuit.size for c in on]))
    return [
        Slip(
            "random_circuit",
            "random circuits with replacement: share of the heads",
            exact(1.0, n=n_draws),
            sizes,
        ),
        paired(
            "random_circuit",
            "random circuits with replacement: accuracy",
            found.hits[:n_draws].mean(0),
            found.hits[n_draws:].mean(0),
        ),
    ]


@stored("slip-random")
def _circuit_scores(
    model: Model, prompts: Prompts, circuits: Sequence[Circuit], means: Means
) -> AblationScores:
    return score_circuits(model, prompts, circuits=circuits, means=means)


def random_head_layers(n_layers: int, n_heads: int) -> Slip:
    """Share of a model's heads that a random circuit can hold: layer = number // n_heads (off), or
    // n_layers (on).

    A number is drawn for each head, from 0 to `n_layers * n_heads - 1`; the head within its layer
    is number % n_heads in both. With as many layers as heads nothing changes; with more layers,
    only the first `n_heads` of them are ever drawn."""
    total = n_layers * n_heads
    off, on = (
        {(number // by, number % n_heads) for number in range(total)} for by in (n_heads, n_layers)
    )
    return Slip(
        "random_circuit",
        "layer of a random head by // num_layers: heads in reach",
        *(
            exact(sum(layer < n_layers for layer, _ in drawn) / total, n=total)
            for drawn in (off, on)
        ),
    )

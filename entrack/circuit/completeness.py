"""Does the circuit miss anything? Take heads K away from the circuit and from the model, and
compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from entrack.circuit.ablation import score_circuits, score_removed
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.model.activations import CHUNK, Means, clean_run
from entrack.model.decoder import Model
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.replay import Replay
from entrack.sites import GROUPS, check_heads
from entrack.stats.metrics import Difference, difference
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

QUESTION = ("query_label", "last")
"""The tokens of the question at which groups act."""


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
    n_choosing: int = 100,
    seed: int = 0,
) -> Completeness:
    """Whole groups, random K (each head with probability 1/2), and a K grown greedily to open the
    gap. Stored.

    The greedy search, which the released code lacks, adds at each of `n_greedy` steps that of six
    drawn heads which makes |F(C without K) - F(M without K)| largest on the first `n_choosing`
    prompts. All of the prompts score it.
    Raises SiteError for a circuit without heads.
    Cost: per K and prompt, three tokens (circuit) and those that `hits_without` reruns (model).
    """
    if not circuit.size:
        raise SiteError(
            f"the circuit of {circuit.model} has no heads, so none can be taken away; at least one"
            " is needed. Search with more prompts, or in a version that does the task."
        )
    return _measure(model, prompts, circuit, means, n_random, n_greedy, n_choosing, seed)


@stored("completeness")
def _measure(
    model: Model,
    prompts: Prompts,
    circuit: Circuit,
    means: Means,
    n_random: int,
    n_greedy: int,
    n_choosing: int,
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
    few = prompts.subset(range(min(n_choosing, len(prompts))))
    grown: list = []
    for step in range(min(n_greedy, len(items))):
        left = [item for item in items if item not in grown]
        tried = [
            left[i] for i in generator.choice(len(left), size=min(6, len(left)), replace=False)
        ]
        sets = [_subset(circuit, [*grown, item]) for item in tried]
        found = _both(model, few, circuit, sets, means)
        best = int(np.abs(found[0].mean(1) - found[1].mean(1)).argmax())
        grown.append(tried[best])
        removed.append(sets[best])
        labels.append(f"greedy {step + 1}")
    if grown:
        more = _both(model, prompts, circuit, removed[-len(grown) :], means)
        scores = [np.concatenate(pair) for pair in zip(scores, more, strict=True)]
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
        hits_without(model, prompts, removed=removed, means=means),
    ]


def hits_without(
    model: Model, prompts: Prompts, *, removed: Sequence[Circuit], means: Means
) -> np.ndarray:
    """Whether the whole model less the heads of each of `removed`, mean-ablated at their roles,
    answers right [set example]: F(M without K).

    The same as `ablation.score_removed`, which reruns the context for every set. Here only sets
    with structure readers do; the others begin at the query label and at their lowest layer.
    Raises SiteError for a head that the model does not have.
    Cost: a pass per prompt, twice where some sets have structure readers and others do not; per
    prompt and set, the positions from the query label on, or those from the earlier label on."""
    hits = np.empty((len(removed), len(prompts)), dtype=bool)
    early = [i for i, circuit in enumerate(removed) if circuit.groups["structure_reader"]]
    late = [i for i in range(len(removed)) if i not in early]
    if early:
        sets = [removed[i] for i in early]
        hits[early] = score_removed(model, prompts, removed=sets, means=means).hits
    if late:
        hits[late] = _without_at_question(model, prompts, [removed[i] for i in late], means)
    return hits


@torch.no_grad()
def _without_at_question(
    model: Model, prompts: Prompts, removed: Sequence[Circuit], means: Means
) -> np.ndarray:
    """`hits_without` for sets that take nothing away before the query label."""
    gone = torch.zeros(len(QUESTION), model.n_layers, len(removed), model.n_heads, dtype=torch.bool)
    for index, circuit in enumerate(removed):
        for slot, role in enumerate(QUESTION):
            heads = sorted(circuit.at(role))
            check_heads(heads, model.n_layers, model.n_heads)
            for head in heads:
                gone[slot, head.layer, index, head.head] = True
    sites = [(int(s), int(layer)) for s, layer in gone.any(dim=(2, 3)).nonzero()]
    start = min((layer for _, layer in sites), default=model.n_layers - 1)
    gone, hits = gone.to(model.device), np.empty((len(removed), len(prompts)), dtype=bool)
    for group in by_suffix(prompts, QUESTION[0]):
        for chosen in chunks(group, CHUNK):
            run = clean_run(model, prompts.subset(chosen))
            positions = suffix(run, QUESTION[0])
            at = [run.prompts.at(role) for role in QUESTION]
            edits = [
                Edit(
                    "z",
                    layer,
                    int((at[slot] - positions[:, 0])[0]),
                    means.z[layer][at[slot]][:, None],
                    gone[slot, layer][None],
                )
                for slot, layer in sites
            ]
            found = Replay(
                model, run, positions=positions, edits=edits, variants=len(removed), start=start
            ).outcomes()
            hits[:, chosen] = found.hit.T.cpu()
    return hits


def _subset(circuit: Circuit, items: Sequence) -> Circuit:
    return replace(circuit, groups={n: tuple(h for name, h in items if name == n) for n in GROUPS})

"""Which heads work behind every label? A fifth group, E (ours).

At the token behind a label, a model that reads from left to right cannot know which label will be
asked for, so what it does behind one it does behind all. Structure readers were searched only
behind the one asked for. Here all other heads are ranked by what they do behind all labels at once,
and the smallest group is taken that does what all of them do."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrack.circuit.ablation import ablated_run
from entrack.circuit.faithfulness import TARGET
from entrack.circuit.search import SHARES
from entrack.circuits import Circuit
from entrack.heads.wide_circuit import (
    OTHERS,
    QUERIED,
    WideCircuit,
    alive_in,
    everywhere,
    measure_wide,
    replay,
)
from entrack.model.activations import CHUNK, Means
from entrack.model.answers import read_out
from entrack.model.decoder import Model
from entrack.sites import GROUPS, Head, all_heads
from entrack.stats.metrics import difference
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

STEPS = 8
"""Stops on the way from heads at their mean to heads alive."""


@dataclass(frozen=True)
class LabelEffects:
    """What each head does for the answer from behind the labels, all labels at once.

    Attributes:
        values: how much of the change from `before` to `after` is due to the head, in nats
            [layer head example]; positive = it helps, 0 = it does nothing, or is a structure
            reader and alive before.
        before: log probability of the answer with the structure readers alone alive there
            [example].
        after: with all heads alive there [example].
    """

    values: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def grid(self) -> np.ndarray:
        """Mean over prompts [layer head]."""
        return self.values.mean(-1)

    def top(self, share: float) -> tuple[Head, ...]:
        """The fewest heads that make up `share` of the helpful effect, strongest first."""
        grid = self.grid()
        order = np.argsort(-grid, axis=None, kind="stable")
        effects = grid.ravel()[order]
        effects = effects[effects > 0]
        if share <= 0 or not len(effects):
            return ()
        n = int(np.searchsorted(effects.cumsum() / effects.sum(), share - 1e-9)) + 1
        order = order[: min(n, len(effects))]
        return tuple(Head(*map(int, divmod(int(i), grid.shape[1]))) for i in order)


@stored("label-effects")
def label_effects(
    model: Model, prompts: Prompts, *, circuit: Circuit, means: Means, steps: int = STEPS
) -> LabelEffects:
    """The effect of every head behind the labels, all labels at once. Stored.

    Every head has a dial there, from 0, its mean, to 1, alive; the circuit's structure readers
    stand at 1. All other dials go up together in `steps` equal steps. In the middle of each step we
    ask by how much the log probability of the answer rises with one dial alone (the gradient), and
    a head's effect is the mean over the steps. The effects of all heads sum to the whole change, up
    to the size of the steps (integrated gradients, Sundararajan et al., 2017; here along the way of
    ablation).

    Raises as `measure_wide` does.
    Cost: one pass without attention per prompt; per step and prompt, two tokens more than there are
    boxes, forward and backward."""
    wide = everywhere(circuit)
    fixed = alive_in(model, wide).to(model.device)[None, None]
    values, ends = [], []
    for indices in chunks(range(len(prompts)), CHUNK):
        run = ablated_run(model, prompts.subset(indices), means)
        summed = 0
        for step in range(steps):
            at = torch.full((len(indices), model.n_layers, model.n_heads), (step + 0.5) / steps)
            dials = at.to(model.device, model.dtype).requires_grad_()
            again = replay(model, run, circuit.structure_role, _dialled(fixed, dials), means)
            told = read_out(model, again.final()[:, :, -1], run.prompts.answers).log_prob
            summed = summed + torch.autograd.grad(told.sum(), dials)[0].cpu().double()
        values.append(summed / steps)
        with torch.no_grad():
            every = everywhere(circuit).plus(all_heads(model.n_layers, model.n_heads))
            both = torch.stack([alive_in(model, w) for w in (wide, every)])[None]
            both = both.to(model.device)
            again = replay(model, run, circuit.structure_role, both, means)
            ends.append(again.outcomes().log_prob.cpu().double())
    before, after = torch.cat(ends).T.numpy()
    return LabelEffects(torch.cat(values).permute(1, 2, 0).numpy(), before, after)


@dataclass(frozen=True)
class FoundWide:
    """The wide circuit of one model, and how it came about.

    Attributes:
        circuit: the circuit that was widened.
        effects: of every head behind the labels.
        candidates: group E in growing sizes, strongest effect first; the first is empty.
        hits: whether the circuit with each answers right on the prompts of the search [candidate
            example].
        ceiling: whether the circuit with all heads behind every label does [example].
        chosen: index of the chosen candidate.
    """

    circuit: Circuit
    effects: LabelEffects
    candidates: tuple[tuple[Head, ...], ...]
    hits: np.ndarray
    ceiling: np.ndarray
    chosen: int

    @property
    def added(self) -> tuple[Head, ...]:
        """Group E, strongest effect first."""
        return self.candidates[self.chosen]

    @property
    def wide(self) -> WideCircuit:
        """The circuit with D and E alive behind every label."""
        return everywhere(self.circuit).plus(self.added)


def search_labels(model: Model, prompts: Prompts, *, circuit: Circuit, means: Means) -> FoundWide:
    """Group E of `circuit` in `model`: rank all heads behind the labels by their effect, and take
    the smallest candidate whose accuracy reaches `TARGET` of that with all heads alive there; if
    none does, the smallest that is not clearly less accurate than the best. The same rule as for
    the size of a circuit (`choose_size`). Every step is stored.

    The group may be empty: then the structure readers do there what all heads do.
    Raises as `measure_wide` does; its cost for ten circuits, and that of `label_effects`."""
    effects = label_effects(model, prompts, circuit=circuit, means=means)
    candidates = tuple(dict.fromkeys(effects.top(share) for share in (0.0, *SHARES)))
    grown = (*candidates, all_heads(model.n_layers, model.n_heads))
    named = {str(i): everywhere(circuit).plus(heads) for i, heads in enumerate(grown)}
    scores = measure_wide(model, prompts, circuits=named, means=means)
    *hits, ceiling = (scores.hits[name] for name in named)
    accuracies = np.array([row.mean() for row in hits])
    enough = np.flatnonzero(accuracies >= TARGET * ceiling.mean()).tolist()
    if not enough:
        best = hits[int(accuracies.argmax())]
        enough = [i for i, row in enumerate(hits) if not difference(row, best).high < 0]
    return FoundWide(circuit, effects, candidates, np.stack(hits), ceiling, enough[0])


FOUR, READERS, E_OWN, E_OTHERS, WITH_E, RANDOM, ALL_BEHIND, ALL_THERE = (
    "the four groups",
    "D behind every label",
    "and E behind the label asked for",
    "and E behind the other labels",
    "and E behind every label",
    "random heads in place of E",
    "all heads in place of E",
    "all heads at all these tokens",
)
"""Names of what `rungs` gives."""


def rungs(found: FoundWide, model: Model, *, seed: int = 0) -> dict[str, WideCircuit]:
    """The steps from the four groups to all heads at the tokens of the wide circuit, by name.

    The four groups; D alive behind every label; then E with it, behind the label asked for, behind
    the others, and behind every label; in the place of E as many random heads of the same layers
    (the floor, drawn with `seed`), and all heads; at last all heads for the other groups too.
    """
    readers = everywhere(found.circuit)
    heads = all_heads(model.n_layers, model.n_heads)
    full = replace(found.circuit, groups=dict.fromkeys(GROUPS, heads))
    return {
        FOUR: WideCircuit(found.circuit),
        READERS: readers,
        E_OWN: readers.plus(found.added, others=False),
        E_OTHERS: readers.plus(found.added, own=False),
        WITH_E: found.wide,
        RANDOM: readers.plus(_random_like(found, model, seed)),
        ALL_BEHIND: readers.plus(heads),
        ALL_THERE: WideCircuit(full, heads),
    }


def _random_like(found: FoundWide, model: Model, seed: int) -> list[Head]:
    """As many heads per layer as group E has, drawn from those that are no structure readers."""
    generator, drawn = np.random.default_rng(seed), []
    readers = set(found.circuit.groups["structure_reader"])
    for layer in sorted({head.layer for head in found.added}):
        free = [h for h in range(model.n_heads) if Head(layer, h) not in readers]
        size = sum(head.layer == layer for head in found.added)
        drawn += [Head(layer, int(h)) for h in generator.choice(free, size=size, replace=False)]
    return drawn


def _dialled(fixed: Tensor, dials: Tensor) -> Tensor:
    """`fixed` [1 1 layer place head] as numbers, with the dials [example layer head] behind the
    labels where no head is fixed there [example 1 layer place head].
    """
    places = list(fixed.to(dials.dtype).expand(len(dials), -1, -1, -1, -1).unbind(dim=3))
    for place in (QUERIED, OTHERS):
        places[place] = torch.where(fixed[:, :, :, place], places[place], dials[:, None])
    return torch.stack(places, dim=3)

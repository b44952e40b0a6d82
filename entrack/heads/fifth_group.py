"""Which heads work at tokens that the paper's four groups leave out? A fifth group, E (ours).

All heads are ranked by what they do at these tokens, all of the tokens at once: a model that reads
from left to right cannot know which box will be asked for, so what it does in one segment it does
in all. Then the smallest group is taken that does what all heads there do."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from entrack.circuit.ablation import ablated_run
from entrack.circuit.faithfulness import TARGET
from entrack.circuits import Circuit
from entrack.heads.token_support import PLACES, TokenSupport
from entrack.heads.wide_circuit import MORE, WideCircuit, alive_in, measure_wide, replay
from entrack.model.activations import CHUNK, Means
from entrack.model.answers import read_out
from entrack.model.decoder import Model
from entrack.sites import GROUPS, Head, all_heads
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

STEPS = 4
"""Stops on the way from heads at their mean to heads alive."""
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Shares of the helpful effect that the candidates for group E make up."""


def further_places(support: TokenSupport, circuit: Circuit) -> tuple[str, ...]:
    """The kinds of tokens that a version needs and at which no group of `circuit` acts, in the
    order in which they were found. Empty where the tokens of the groups are enough.
    """
    own = {circuit.structure_role, "query_label", "last"}
    return tuple(PLACES[name] for name in support.order if PLACES[name] not in own)


@dataclass(frozen=True)
class FurtherEffects:
    """What each head does for the answer at the further tokens, all of them at once.

    Attributes:
        values: how much of the change from `before` to `after` is due to the head, in nats
            [layer head example]; positive = it helps, 0 = it does nothing.
        before: log probability of the answer with no head alive there [example].
        after: with all heads alive there [example].
    """

    values: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def top(self, share: float) -> tuple[Head, ...]:
        """The fewest heads that make up `share` of the helpful effect, strongest first."""
        grid = self.values.mean(-1)
        order = np.argsort(-grid, axis=None, kind="stable")
        effects = grid.ravel()[order]
        effects = effects[effects > 0]
        if share <= 0 or not len(effects):
            return ()
        n = int(np.searchsorted(effects.cumsum() / effects.sum(), share - 1e-9)) + 1
        order = order[: min(n, len(effects))]
        return tuple(Head(*map(int, divmod(int(i), grid.shape[1]))) for i in order)


@stored("further-effects")
def further_effects(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    places: tuple[str, ...],
    means: Means,
    steps: int = STEPS,
) -> FurtherEffects:
    """The effect of every head at the tokens of `places`, beside `circuit`. Stored.

    Every head has a dial there, from 0, its mean, to 1, alive; where a group of the circuit acts at
    such a token too, its heads stand at 1. All dials go up together in `steps` equal steps. In the
    middle of each step we ask by how much the log probability of the answer rises with one dial
    alone (the gradient), and a head's effect is the mean over the steps. The effects of all heads
    sum to the whole change, up to the size of the steps (integrated gradients, Sundararajan et al.,
    2017; here along the way of ablation).

    Raises as `measure_wide` does.
    Cost: one pass without attention per prompt; per step and prompt, the tokens of the wide
    circuit, forward and backward."""
    every = WideCircuit(circuit, all_heads(model.n_layers, model.n_heads))
    ends = torch.stack([alive_in(model, wide) for wide in (WideCircuit(circuit), every)])[None]
    ends, role = ends.to(model.device), circuit.structure_role
    groups = ends[:, :1, :, :MORE].to(model.dtype)
    values, told = [], []
    for indices in chunks(range(len(prompts)), CHUNK):
        run = ablated_run(model, prompts.subset(indices), means)
        summed = 0
        for step in range(steps):
            at = torch.full((len(indices), model.n_layers, model.n_heads), (step + 0.5) / steps)
            dials = at.to(model.device, model.dtype).requires_grad_()
            fixed = groups.expand(len(indices), -1, -1, -1, -1)
            alive = torch.cat([fixed, dials[:, None, :, None]], dim=3)
            final = replay(model, run, role, places, alive, means).final()
            answer = read_out(model, final[:, :, -1], run.prompts.answers).log_prob
            summed = summed + torch.autograd.grad(answer.sum(), dials)[0].cpu().double()
        values.append(summed / steps)
        with torch.no_grad():
            both = replay(model, run, role, places, ends, means).outcomes()
        told.append(both.log_prob.cpu().double())
    before, after = torch.cat(told).T.numpy()
    return FurtherEffects(torch.cat(values).permute(1, 2, 0).numpy(), before, after)


@dataclass(frozen=True)
class FoundWide:
    """The wide circuit of one model, and how it came about.

    Attributes:
        circuit: the circuit that was widened.
        places: the further tokens, by role.
        effects: of every head there.
        candidates: group E in growing sizes, strongest effect first; the first is empty.
        hits: whether the circuit with each answers right on the prompts of the search [candidate
            example].
        ceiling: whether the circuit with all heads at these tokens does [example].
        chosen: index of the chosen candidate.
    """

    circuit: Circuit
    places: tuple[str, ...]
    effects: FurtherEffects
    candidates: tuple[tuple[Head, ...], ...]
    hits: np.ndarray
    ceiling: np.ndarray
    chosen: int

    @property
    def more(self) -> tuple[Head, ...]:
        """Group E, strongest effect first."""
        return self.candidates[self.chosen]


def search_fifth(
    model: Model, prompts: Prompts, *, circuit: Circuit, places: tuple[str, ...], means: Means
) -> FoundWide:
    """Group E of `circuit` in `model`: rank all heads at the further tokens by their effect on the
    first half of the prompts, and take the smallest candidate that is right on `TARGET` as many of
    all prompts as the best one, or as all heads there if they are better. Where all heads are far
    better than any candidate and none gets there, it is the best candidate. Every step is stored.

    The group may be empty: then heads there add nothing to the circuit.
    Raises as `measure_wide` does; its cost for seven circuits, and that of `further_effects` for
    half of the prompts."""
    half = prompts.subset(range((len(prompts) + 1) // 2))
    effects = further_effects(model, half, circuit=circuit, places=places, means=means)
    candidates = tuple(dict.fromkeys(effects.top(share) for share in SHARES))
    grown = (*candidates, all_heads(model.n_layers, model.n_heads))
    named = {str(i): WideCircuit(circuit, tuple(sorted(heads))) for i, heads in enumerate(grown)}
    scores = measure_wide(model, prompts, circuits=named, places=places, means=means)
    *hits, ceiling = (scores.hits[name] for name in named)
    right = np.array([row.mean() for row in hits])
    enough = np.flatnonzero(right >= TARGET * max(right.max(), ceiling.mean()))
    chosen = int(enough[0] if len(enough) else right.argmax())
    return FoundWide(circuit, places, effects, candidates, np.stack(hits), ceiling, chosen)


FOUR, READERS, WITH_E, RANDOM, ALL_E, ALL_QUESTION, ALL_THERE = (
    "the four groups",
    "D at these tokens too",
    "E at these tokens",
    "random heads in place of E",
    "all heads in place of E",
    "E, and all heads for the four groups",
    "all heads for all five groups",
)
"""Names of what `rungs` gives."""


def rungs(found: FoundWide, model: Model, *, seed: int = 0) -> dict[str, WideCircuit]:
    """The steps from the four groups to all heads at the tokens of the wide circuit, by name.

    The four groups; their structure readers at the further tokens too (the same heads, more
    tokens); group E there; in its place as many random heads of the same layers (the floor, drawn
    with `seed`), and all heads; E with all heads for the four groups; at last all heads for all.
    """
    circuit, heads = found.circuit, all_heads(model.n_layers, model.n_heads)
    full = replace(circuit, groups=dict.fromkeys(GROUPS, heads))
    return {
        FOUR: WideCircuit(circuit),
        READERS: WideCircuit(circuit, circuit.groups["structure_reader"]),
        WITH_E: WideCircuit(circuit, found.more),
        RANDOM: WideCircuit(circuit, _random_like(found.more, model, seed)),
        ALL_E: WideCircuit(circuit, heads),
        ALL_QUESTION: WideCircuit(full, found.more),
        ALL_THERE: WideCircuit(full, heads),
    }


def _random_like(heads: tuple[Head, ...], model: Model, seed: int) -> tuple[Head, ...]:
    """As many heads in each layer, drawn from all of the layer; some may be the same."""
    generator, drawn = np.random.default_rng(seed), []
    for layer in sorted({head.layer for head in heads}):
        size = sum(head.layer == layer for head in heads)
        picked = generator.choice(model.n_heads, size=size, replace=False)
        drawn += [Head(layer, int(head)) for head in sorted(picked)]
    return tuple(drawn)

"""Attention knock-out: which token must be able to read which, and up to which layer.

After Geva et al. 2023, as the paper uses it (section 4.3): every head of the layers from L up is
kept from attending from one token role to another, and the accuracy shows whether that information
had arrived below L. What comes before the reading token cannot change, so only the tokens from it
on are run again, with one position hidden from the first of them, on top of the keys and values of
the clean run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.activations import Run
from entrack.model.answers import read_out
from entrack.model.decoder import Model
from entrack.model.replay import Replay
from entrack.model.shared_runs import run_shared, take
from entrack.patching.group_patching import CHUNK
from entrack.stats.metrics import LEVEL, Difference, Estimate, difference, rate
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

RANDOM = "random"
BOTH = "prev_query_label+after_prev_query_label"
"""Two roles blocked together: neither can stand in for the other."""
EDGES = (
    ("last", "correct_object"),
    ("last", "query_label"),
    ("query_label", "prev_query_label"),
    ("last", "prev_query_label"),
    ("last", RANDOM),
    ("query_label", RANDOM),
    ("query_label", "after_prev_query_label"),
    ("query_label", BOTH),
)
"""From the reading role to the role that is read: six that the paper blocks, and two that it does
not, the token after the earlier label, where SmolLM2 collects what a segment says, and that token
together with the earlier label."""


@dataclass(frozen=True)
class Knockouts:
    """Answers with attention blocked from one role to another in all layers from a first one up.

    Attributes:
        hits: (from, to) -> whether the answer is right [layer example], for each first blocked
            layer.
        plain: the same with nothing blocked [example].
        layers: the first blocked layers, 0-based; n_layers blocks nothing.
        n_layers: of the model.
        scenes: which scene each example belongs to; intervals are over scenes.
        model: name of the model.
    """

    hits: Mapping[tuple[str, str], np.ndarray]
    plain: np.ndarray
    layers: tuple[int, ...]
    n_layers: int
    scenes: np.ndarray
    model: str

    def accuracy(self, edge: tuple[str, str]) -> list[Estimate]:
        """Accuracy for each first blocked layer."""
        return [rate(row, clusters=self.scenes) for row in self.hits[edge]]

    def loss(self, edge: tuple[str, str], layer: int) -> Difference:
        """Accuracy with the edge blocked from `layer` up, less the plain accuracy, on the same
        prompts.
        """
        return difference(
            self.hits[edge][self.layers.index(layer)], self.plain, clusters=self.scenes
        )

    def beyond_sum(self, together: tuple[str, str], *apart: tuple[str, str]) -> Difference:
        """The change with an edge to several tokens blocked everywhere, less the sum of the changes
        with each token's own edge blocked. Negative: each can stand in for the others.
        """
        whole, *parts = (self.hits[edge][0].astype(float) for edge in (together, *apart))
        changes = sum(part - self.plain for part in parts)
        return difference(whole - self.plain, changes, clusters=self.scenes)

    def half_way(self, edge: tuple[str, str]) -> float | None:
        """Depth (0 to 1) below which half of the loss at the lowest first layer is made up for,
        between two layers by a line.

        None where blocking everywhere does no clear harm (its 95 % interval does not stay below 0).
        """
        if self.loss(edge, self.layers[0]).high >= 0:
            return None
        return self._depth(edge, np.ones(len(self.plain), dtype=bool))

    def needed(self) -> list[tuple[tuple[str, str], float]]:
        """Edges that cost accuracy clearly when blocked everywhere, with their half-way depths,
        lowest first; those to a random token, and to two at once, left out.
        """
        depths = [(e, self.half_way(e)) for e in self.hits if e[1] not in (RANDOM, BOTH)]
        known = [(edge, depth) for edge, depth in depths if depth is not None]
        return sorted(known, key=lambda item: item[1])

    def step(self, lower: tuple[str, str], higher: tuple[str, str]) -> Estimate:
        """Half-way depth of `higher` less that of `lower`, with a jackknife interval over scenes.

        Where blocking one of the two does no clear harm, its depth is unknown: 0 [-1, 1].
        """
        n = len(self.plain)
        if self.half_way(lower) is None or self.half_way(higher) is None:
            return Estimate(0.0, -1.0, 1.0, n)
        scenes = np.unique(self.scenes)
        value, *without = (
            self._depth(higher, kept) - self._depth(lower, kept)
            for kept in [np.ones(n, dtype=bool), *(self.scenes != scene for scene in scenes)]
        )
        error = np.sqrt((len(scenes) - 1) ** 2 / len(scenes) * np.var(without, ddof=1))
        spread = float(stats.t.ppf((1 + LEVEL) / 2, len(scenes) - 1) * error)
        return Estimate(value, value - spread, value + spread, n)

    def _depth(self, edge: tuple[str, str], kept: np.ndarray) -> float:
        """`half_way` on the examples that are `kept` [example], whatever the loss."""
        accuracy, plain = self.hits[edge][:, kept].mean(1), self.plain[kept].mean()
        level = (accuracy[0] + plain) / 2
        reached = np.flatnonzero(accuracy[1:] >= level)
        first = int(reached[0]) + 1 if len(reached) else len(accuracy) - 1
        below, above = accuracy[first - 1], accuracy[first]
        share = (level - below) / (above - below) if above > below else 0.0
        low, high = self.layers[first - 1], self.layers[first]
        return float((low + share * (high - low)) / self.n_layers)


def knock_out(
    model: Model,
    prompts: Prompts,
    *,
    edges: Sequence[tuple[str, str]] = EDGES,
    layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Knockouts:
    """Block each edge in all layers from each of `layers` up. Stored.

    Args:
        edges: (from, to) roles; to may be several, joined by "+", or "random", for each prompt one
            position before the reading one that holds no role, drawn by `seed` (the paper draws
            from all positions up to the question).
        layers: first blocked layers, ascending; default every second one, and n_layers, which
            blocks nothing.

    Raises:
        AlignmentError: an unknown role, or a role that does not come before the one that would read
            it.
        SiteError: a layer that the model does not have.

    Cost: for each edge and layer, the tokens from the reading role on
    through the layers above."""
    layers = (
        tuple(range(0, model.n_layers, 2)) + (model.n_layers,) if layers is None else tuple(layers)
    )
    if not layers or not edges:
        raise ConfigError(
            "nothing to knock out; at least one edge and one layer are needed. Leave both out for"
            " the defaults."
        )
    if any(not 0 <= layer <= model.n_layers for layer in layers):
        raise SiteError(
            f"first blocked layers {list(layers)}; {model.name} has layers 0 to"
            f" {model.n_layers - 1}, and {model.n_layers} blocks none. Use those."
        )
    goals = {edge: _goal(prompts, edge, seed) for edge in edges}
    return _knock_out(model, prompts, goals, layers)


@torch.no_grad()
def blocked_resid(model: Model, run: Run, *, reader: Tensor, goal: Tensor, layer: int) -> Tensor:
    """Residual stream leaving the last layer at the last token [example d_model], attention from
    `reader` [example] to `goal` [example], or to several [example hidden], blocked in all layers
    from `layer` up.

    `layer` n_layers gives the clean run's own.
    """
    last, rows = run.prompts.at("last"), torch.arange(len(run.prompts))
    found = run.resid[-1][rows, last].clone()
    if layer < model.n_layers:
        for length in (last - reader).unique().tolist():
            chosen = torch.nonzero(last - reader == length)[:, 0]
            final = Replay(
                model,
                take(run, chosen.tolist()),
                positions=reader[chosen][:, None] + torch.arange(length + 1),
                start=layer,
                unseen=goal[chosen],
            ).final()
            found[chosen] = final[:, 0, -1]
    return found


def _goal(prompts: Prompts, edge: tuple[str, str], seed: int) -> Tensor:
    """The positions that are hidden in each prompt [example hidden]; of a random one [example]."""
    reader = prompts.at(edge[0])
    if edge[1] != RANDOM:
        goal = torch.stack([prompts.at(role) for role in edge[1].split("+")], dim=1)
        if bool((goal >= reader[:, None]).any()):
            raise AlignmentError(
                f"{edge[1]!r} does not come before {edge[0]!r}, which so cannot read it; a token"
                " reads earlier ones. Swap the roles."
            )
        return goal
    generator = torch.Generator().manual_seed(seed)
    roles = torch.stack(list(prompts.roles.values()), 1).tolist()
    free = [
        [p for p in range(1, int(question)) if p not in taken]
        for question, taken in zip(prompts.at("query_label") - 1, roles, strict=True)
    ]  # up to the full stop; not the first token, where heads rest that have nothing to read
    drawn = torch.rand(len(prompts), generator=generator).tolist()
    return torch.tensor(
        [places[int(x * len(places))] for places, x in zip(free, drawn, strict=True)]
    )


@stored("knockout")
def _knock_out(
    model: Model, prompts: Prompts, goals: Mapping[tuple[str, str], Tensor], layers: tuple[int, ...]
) -> Knockouts:
    hits: dict[tuple[str, str], list[np.ndarray]] = {edge: [] for edge in goals}
    plain = []
    for part in chunks(range(len(prompts)), CHUNK):
        run = run_shared(model, prompts.subset(part))
        ends = torch.arange(len(run.prompts)), run.prompts.at("last")
        plain.append(
            read_out(model, run.resid[-1][ends][:, None], run.prompts.answers)
            .hit[:, 0]
            .cpu()
            .numpy()
        )
        for edge, goal in goals.items():
            final = [
                blocked_resid(
                    model, run, reader=run.prompts.at(edge[0]), goal=goal[part], layer=layer
                )
                for layer in layers
            ]
            hits[edge].append(
                read_out(model, torch.stack(final, 1), run.prompts.answers).hit.T.cpu().numpy()
            )
    return Knockouts(
        hits={edge: np.concatenate(rows, axis=1) for edge, rows in hits.items()},
        plain=np.concatenate(plain),
        layers=layers,
        n_layers=model.n_layers,
        scenes=prompts.scenes,
        model=model.name,
    )

"""A circuit with a fifth group of heads, at tokens that none of the paper's four acts at (ours).

The four groups act at three tokens. Where a version needs live heads elsewhere too, such as at the
objects of all boxes (`token_support`), no circuit of these groups can be faithful to it. A wide
circuit has heads there, the same at all of these tokens. Every other head, and every head
elsewhere, gives its mean, as in `circuit.ablation`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.circuit.ablation import ablated_run
from entrack.circuits import Circuit
from entrack.errors import ConfigError, TaskError
from entrack.heads.token_support import with_places
from entrack.model.activations import CHUNK, Means, Run
from entrack.model.decoder import Model
from entrack.model.edits import Edit
from entrack.model.replay import Replay
from entrack.sites import Head, check_heads
from entrack.stats.metrics import Difference, Estimate, difference, rate, ratio
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

STRUCTURE, LABEL, LAST, MORE = range(4)
"""Where a head may be alive: where structure readers act, at the query label, at the last token,
and at the tokens of the fifth group."""
OF_ALL_BOXES = {"every label": "label", "every object": "object", "after every label": "label"}
"""Kinds of tokens of which every box has one -> the word of its segment."""


@dataclass(frozen=True)
class WideCircuit:
    """A circuit, and the heads of a fifth group.

    Attributes:
        circuit: the four groups, each at its own token.
        more: heads alive at the further tokens.
    """

    circuit: Circuit
    more: tuple[Head, ...] = ()


@dataclass(frozen=True)
class WideScores:
    """Answers of wide circuits on the same prompts.

    Attributes:
        hits: whether the answer is right, by name of the circuit [example].
        log_prob: natural log of the right object's probability, by name [example].
        model: name of the model.
    """

    hits: Mapping[str, np.ndarray]
    log_prob: Mapping[str, np.ndarray]
    model: str

    def accuracy(self, name: str) -> Estimate:
        """Share of right answers."""
        return rate(self.hits[name])

    def gain(self, name: str, over: str) -> Difference:
        """Accuracy of one circuit less that of another, on the same prompts."""
        return difference(self.hits[name], self.hits[over])

    def share(self, name: str, whole: np.ndarray) -> Estimate:
        """Faithfulness: accuracy over that of the whole model, whose answers on these prompts are
        `whole` [example]. The whole model must be right on at least one."""
        return ratio(self.hits[name], whole)


def measure_wide(
    model: Model,
    prompts: Prompts,
    *,
    circuits: Mapping[str, WideCircuit],
    places: Sequence[str],
    means: Means,
) -> WideScores:
    """Each wide circuit alone: every other head is mean-ablated at every position. Stored.

    Args:
        places: the further tokens, by role; "every label", "every object" and "after every label"
            stand for those of all boxes, "first" for the first token. None: no further tokens.

    Raises ConfigError for no circuits, or for circuits whose structure readers act at different
    roles; TaskError for tokens of all boxes in prompts of different numbers of boxes, SiteError for
    a head that the model does not have, AlignmentError for an unknown role, or when `means` has
    another length.
    Cost: one pass without attention per prompt, and per circuit and prompt its tokens."""
    roles = sorted({wide.circuit.structure_role for wide in circuits.values()})
    if len(roles) != 1:
        raise ConfigError(
            f"circuits whose structure readers act at {' and '.join(roles) or 'no role'}; one call"
            " takes circuits of one kind. Score them apart."
        )
    return _measure(model, prompts, dict(circuits), tuple(places), means)


@stored("wide")
@torch.no_grad()
def _measure(
    model: Model,
    prompts: Prompts,
    circuits: Mapping[str, WideCircuit],
    places: tuple[str, ...],
    means: Means,
) -> WideScores:
    alive = torch.stack([alive_in(model, wide) for wide in circuits.values()])[None]
    role = next(iter(circuits.values())).circuit.structure_role
    hits, log_prob = [], []
    for indices in chunks(range(len(prompts)), CHUNK):
        run = ablated_run(model, prompts.subset(indices), means)
        found = replay(model, run, role, places, alive.to(model.device), means).outcomes()
        hits.append(found.hit.T.cpu())
        log_prob.append(found.log_prob.T.cpu())
    return WideScores(
        hits=dict(zip(circuits, torch.cat(hits, dim=1).numpy(), strict=True)),
        log_prob=dict(zip(circuits, torch.cat(log_prob, dim=1).numpy(), strict=True)),
        model=model.name,
    )


def tokens_at(prompts: Prompts, place: str) -> Tensor:
    """Where the tokens of one kind stand [example token]. Raises as `measure_wide` does."""
    if place in OF_ALL_BOXES:
        if not prompts.segments:
            raise TaskError(
                "prompts of different numbers of boxes; tokens of all boxes are taken segment by"
                " segment. Use prompts with one number of boxes."
            )
        return prompts.segments[OF_ALL_BOXES[place]] + (place == "after every label")
    return with_places(prompts).at(place)[:, None]


def alive_in(model: Model, wide: WideCircuit) -> Tensor:
    """Which heads are alive where [layer place head]."""
    at = {
        STRUCTURE: wide.circuit.at(wide.circuit.structure_role),
        LABEL: wide.circuit.at("query_label"),
        LAST: wide.circuit.at("last"),
        MORE: wide.more,
    }
    alive = torch.zeros(model.n_layers, len(at), model.n_heads, dtype=torch.bool)
    for place, heads in at.items():
        for head in check_heads(heads, model.n_layers, model.n_heads):
            alive[head.layer, place, head.head] = True
    return alive


def replay(
    model: Model, run: Run, role: str, places: Sequence[str], alive: Tensor, means: Means
) -> Replay:
    """The ablated run with heads alive [example variant layer place head; the first may be 1], as
    truth values, or as numbers between 0 and 1 that gradients pass through. A token of two places
    has the heads of both; of two numbers for one head, the larger.
    """
    columns = [run.prompts.at(name)[:, None] for name in (role, "query_label", "last")]
    more = [tokens_at(run.prompts, place) for place in places]
    columns.append(torch.cat([*more, columns[LAST][:, :0]], dim=1))
    positions = torch.stack([row.unique() for row in torch.cat(columns, dim=1)])
    stands = torch.stack(
        [(positions[:, :, None] == tokens[:, None]).any(-1) for tokens in columns], dim=2
    ).to(model.device)  # [example slot place]
    edits = []
    for layer in range(model.n_layers):
        for slot in range(positions.shape[1]):
            here = stands[:, slot, None, :, None] * alive[:, :, layer]
            kept = here.any(2) if alive.dtype == torch.bool else here.amax(2)
            mask = ~kept if alive.dtype == torch.bool else 1 - kept
            value = means.z[layer][positions[:, slot]][:, None]
            edits.append(Edit("z", layer, slot, value, mask))
    return Replay(model, run, positions=positions, edits=edits, variants=alive.shape[1], start=0)

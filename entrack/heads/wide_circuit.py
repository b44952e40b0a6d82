"""A circuit with heads alive behind every label, not only behind the one asked for (ours).

A circuit of the paper's groups acts at three tokens, and its structure readers (D) read one segment
of the context. Where a version needs live heads in the other segments too, no such circuit can be
faithful to it. A wide circuit has heads behind the labels of all segments. Every other head, and
every head elsewhere, gives its mean, as in `circuit.ablation`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrack.circuit.ablation import ablated_run
from entrack.circuits import Circuit
from entrack.errors import ConfigError, TaskError
from entrack.model.activations import CHUNK, Means, Run
from entrack.model.decoder import Model
from entrack.model.edits import Edit
from entrack.model.replay import Replay
from entrack.sites import Head, check_heads
from entrack.stats.metrics import Difference, Estimate, difference, rate, ratio
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

QUERIED, OTHERS, LABEL, LAST = range(4)
"""Where a head may be alive: behind the label that is asked for, behind all other labels, at the
query label, at the last token."""


@dataclass(frozen=True)
class WideCircuit:
    """A circuit, and the heads that are alive behind the labels of the other segments.

    Attributes:
        circuit: the four groups, each at its own token.
        others: heads alive behind every label that is not asked for (at the label itself, where
            the circuit's structure readers act there).
    """

    circuit: Circuit
    others: tuple[Head, ...] = ()

    @property
    def own(self) -> tuple[Head, ...]:
        """Heads alive behind the label that is asked for: the circuit's structure readers."""
        return self.circuit.groups["structure_reader"]

    def plus(
        self, heads: Sequence[Head], *, own: bool = True, others: bool = True
    ) -> "WideCircuit":
        """With more heads behind every label; or only behind the one asked for (`own`), or only
        behind the `others`.
        """
        more = tuple(sorted({*self.own, *heads})) if own else self.own
        return WideCircuit(
            replace(self.circuit, groups={**self.circuit.groups, "structure_reader": more}),
            tuple(sorted({*self.others, *heads})) if others else self.others,
        )


def everywhere(circuit: Circuit) -> WideCircuit:
    """The circuit with its structure readers alive behind every label."""
    return WideCircuit(circuit, circuit.groups["structure_reader"])


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
        `whole` [example]. Undefined (NaN) where the whole model is never right."""
        return ratio(self.hits[name], whole)


def measure_wide(
    model: Model, prompts: Prompts, *, circuits: Mapping[str, WideCircuit], means: Means
) -> WideScores:
    """Each wide circuit alone: every other head is mean-ablated at every position. Stored.

    Raises ConfigError for no circuits, or for circuits whose structure readers act at different
    roles; TaskError for prompts of different numbers of boxes, SiteError for a head that the model
    does not have, AlignmentError when `means` has another length.
    Cost: one pass without attention per prompt, and per circuit and prompt two tokens more than
    there are boxes."""
    roles = sorted({wide.circuit.structure_role for wide in circuits.values()})
    if len(roles) != 1:
        raise ConfigError(
            f"circuits whose structure readers act at {' and '.join(roles) or 'no role'}; one call"
            " takes circuits of one kind. Score them apart."
        )
    return _measure(model, prompts, dict(circuits), means, roles[0])


@stored("wide")
@torch.no_grad()
def _measure(
    model: Model, prompts: Prompts, circuits: Mapping[str, WideCircuit], means: Means, role: str
) -> WideScores:
    alive = torch.stack([alive_in(model, wide) for wide in circuits.values()])[None]
    hits, log_prob = [], []
    for indices in chunks(range(len(prompts)), CHUNK):
        run = ablated_run(model, prompts.subset(indices), means)
        found = replay(model, run, role, alive.to(model.device), means).outcomes()
        hits.append(found.hit.T.cpu())
        log_prob.append(found.log_prob.T.cpu())
    return WideScores(
        hits=dict(zip(circuits, torch.cat(hits, dim=1).numpy(), strict=True)),
        log_prob=dict(zip(circuits, torch.cat(log_prob, dim=1).numpy(), strict=True)),
        model=model.name,
    )


def segments(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Labels and objects of all boxes [example slot]."""
    if not prompts.segments:
        raise TaskError(
            "prompts of different numbers of boxes; heads behind all labels are counted segment by"
            " segment. Use prompts with one number of boxes."
        )
    return prompts.segments["label"], prompts.segments["object"]


def alive_in(model: Model, wide: WideCircuit) -> Tensor:
    """Which heads are alive where [layer place head]."""
    at = {
        QUERIED: wide.circuit.at(wide.circuit.structure_role),
        OTHERS: wide.others,
        LABEL: wide.circuit.at("query_label"),
        LAST: wide.circuit.at("last"),
    }
    alive = torch.zeros(model.n_layers, len(at), model.n_heads, dtype=torch.bool)
    for place, heads in at.items():
        for head in check_heads(heads, model.n_layers, model.n_heads):
            alive[head.layer, place, head.head] = True
    return alive


def replay(model: Model, run: Run, role: str, alive: Tensor, means: Means) -> Replay:
    """The ablated run with heads alive [example variant layer place head; the first may be 1], as
    truth values, or as numbers between 0 and 1 that gradients pass through."""
    labels, _ = segments(run.prompts)
    own = (labels == run.prompts.at("prev_query_label")[:, None]).to(model.device)
    question = [run.prompts.at(name)[:, None] for name in ("query_label", "last")]
    behind = labels + (role == "after_prev_query_label")
    positions = torch.cat([behind, *question], dim=1)
    gone = ~alive if alive.dtype == torch.bool else 1 - alive
    edits, n_boxes = [], labels.shape[1]
    for layer in range(model.n_layers):
        here = gone[:, :, layer]
        for slot in range(positions.shape[1]):
            if slot < n_boxes:
                mine = own[:, slot, None, None]
                mask = torch.where(mine, here[:, :, QUERIED], here[:, :, OTHERS])
            else:
                mask = here[:, :, LABEL + slot - n_boxes]
            value = means.z[layer][positions[:, slot]][:, None]
            edits.append(Edit("z", layer, slot, value, mask))
    return Replay(model, run, positions=positions, edits=edits, variants=alive.shape[1], start=0)

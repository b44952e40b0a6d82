"""Every answer that the book's explorer can show: a version of a model, with each set of heads
replaced from each source.

A source is where the replacing outputs come from: another prompt read by the same version (as in
`patching.group_patching`), another version that reads the same prompt (as in `cmap`), or the mean
over many prompts (as in `circuit.ablation`). Here the three stand side by side, and instead of one
answer all that the model might say is kept, by kind. Ours; the paper shows no single prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell, check_cells, output_edits, roles, together
from entrack.errors import AlignmentError, ConfigError, TaskError
from entrack.model.activations import Means, Run
from entrack.model.answers import answers_of
from entrack.model.attention import weights_in
from entrack.model.decoder import Model, check_pair
from entrack.model.edits import by_suffix, suffix
from entrack.model.replay import Replay
from entrack.model.shared_runs import run_shared, take
from entrack.sites import ACTING_ROLES
from entrack.store.results import stored
from entrack.task.counterfactual_prompts import CounterfactualPrompts
from entrack.task.prompts import Prompts, chunks

KINDS = ("right", "position", "source", "objects", "rest")
"""Kinds of answers: the right object, the base's object at the position that the source asks for,
the source's own answer, the base's other objects together, all other words together."""
ANOTHER_PROMPT, MEAN = "another prompt", "mean"
CHUNK = 35  # prompts whose runs are held at once


@dataclass(frozen=True)
class Explored:
    """What one version answers to some prompts, alone and with heads replaced.

    Attributes:
        cells: what was replaced, in the order of the cell axis.
        sources: where from, in the order of the source axis: ANOTHER_PROMPT, the name of every
            donor, MEAN.
        own: probability of each of KINDS with nothing replaced [source example kind]. "position"
            and "source" are 0 where the source is no prompt; the base's object at that position is
            then among "objects".
        probs: the same with a cell replaced [source cell example kind].
        own_top: the most likely token with nothing replaced [example].
        top: the same with a cell replaced [source cell example].
        attention: group -> attention from the token where the group acts, mean over its heads, with
            nothing replaced [example pos]; no entry for a group without heads.
        model: name of the version.
    """

    cells: tuple[Cell, ...]
    sources: tuple[str, ...]
    own: np.ndarray
    probs: np.ndarray
    own_top: np.ndarray
    top: np.ndarray
    attention: Mapping[str, np.ndarray]
    model: str


def both_ways(
    model: Model, data: CounterfactualPrompts, *, n: int
) -> tuple[CounterfactualPrompts, np.ndarray]:
    """`n` of the pairs, every queried position as often as can be, and at each of them as many that
    `model` answers right as wrong where there are enough of both. No fair sample, therefore.

    Returns:
        The pairs, in the order of their positions, and whether `model` answers their bases right
        [example].

    Raises ConfigError when there are fewer than `n` pairs. Cost: one forward pass per pair. Stored.
    """
    if n > len(data):
        raise ConfigError(
            f"{n} prompts of {len(data)} pairs; there are not that many. Draw more scenes, or ask"
            " for fewer prompts."
        )
    hits = _hits(model, data.base)
    asked = _slot(data.base)
    order: list[tuple[int, int, int]] = []  # turn at its position, position, pair
    for slot in sorted(set(asked.tolist())):
        right, wrong = (
            [i for i in np.flatnonzero(asked.numpy() == slot).tolist() if hits[i] == hit]
            for hit in (True, False)
        )
        mixed = [i for pair in zip(wrong, right, strict=False) for i in pair]
        shorter = min(len(right), len(wrong))
        mixed += right[shorter:] + wrong[shorter:]
        order += [(turn, slot, i) for turn, i in enumerate(mixed)]
    chosen = [i for _, _, i in sorted(sorted(order)[:n], key=lambda item: (item[1], item[0]))]
    return data.subset(chosen), hits[chosen]


@stored("right-answers")
def _hits(model: Model, prompts: Prompts) -> np.ndarray:
    return answers_of(model, prompts).hit[:, 0].cpu().numpy()


def explore(
    model: Model,
    data: CounterfactualPrompts,
    *,
    circuit: Circuit,
    cells: Sequence[Cell],
    means: Means,
    donors: Sequence[Model] = (),
) -> Explored:
    """Replace the outputs of every cell in `model`, from every source. Stored.

    Args:
        data: bases, and for each a source that asks for another position and shares no object with
            it, as `counterfactual_pairs.interchanges` makes them.
        circuit: whose groups' attention is measured.
        cells: outputs at token roles; each label once.
        means: of `model`, over prompts as long as the bases.
        donors: other versions that read the bases.

    Raises:
        ConfigError: no cells, two of one label, or a cell of inputs. SiteError: a head that the
            model does not have. ModelError: a donor of another shape. AlignmentError: means of
            another length, or an object that is another token in the answer than in the context.
            TaskError: a source that asks for the base's position or shares an object with it.

    Cost: one pass of every source per prompt, and per cell and source the tokens from the cell's
    earliest role to the last, from its lowest head's layer on.
    """
    check_cells(cells, model)
    of_inputs = [cell.label for cell in cells if cell.inputs != "z"]
    if of_inputs:
        raise ConfigError(
            f"cells {', '.join(of_inputs)} are of inputs; here outputs are replaced. Make the cells"
            " without `inputs`."
        )
    for donor in donors:
        check_pair(donor, model)
    if set(data.base.lengths.tolist()) != {means.z.shape[1]}:
        raise AlignmentError(
            f"means over prompts of {means.z.shape[1]} tokens for bases of"
            f" {sorted(set(data.base.lengths.tolist()))}; both need one length. Make the means from"
            " prompts of the same format and number of boxes."
        )
    _check_apart(data)
    return _explore(model, data, circuit, tuple(cells), means, tuple(donors))


def _check_apart(data: CounterfactualPrompts) -> None:
    objects = _objects(data.base)
    asked, wanted = _slot(data.base), _slot(data.source)
    if bool((objects.gather(1, asked[:, None])[:, 0] != data.base.answers).any()):
        raise AlignmentError(
            "an object is another token in the answer than in the context; the answers are told"
            " apart by their tokens. Use words that are one token after a space."
        )
    shared = (objects == data.source.answers[:, None]).any(1) | (asked == wanted)
    if bool(shared.any()):
        raise TaskError(
            f"pair {int(shared.nonzero()[0])}: base and source ask for one position or share the"
            " source's object; their answers must be different words. Make the pairs with"
            " interchanges."
        )


def _objects(prompts: Prompts) -> Tensor:
    """The tokens of every box's object [example slot]."""
    return prompts.tokens.gather(1, prompts.segments["object"])


def _slot(prompts: Prompts) -> Tensor:
    """Which box is asked for, counted from 0 in the order of the text [example]."""
    return (prompts.segments["object"] == prompts.at("correct_object")[:, None]).int().argmax(1)


@stored("explorer")
@torch.no_grad()
def _explore(
    model: Model,
    data: CounterfactualPrompts,
    circuit: Circuit,
    cells: tuple[Cell, ...],
    means: Means,
    donors: tuple[Model, ...],
) -> Explored:
    sources = (ANOTHER_PROMPT, *(donor.name for donor in donors), MEAN)
    probs = np.zeros((len(sources), len(cells) + 1, len(data), len(KINDS)), dtype=np.float32)
    top = np.zeros(probs.shape[:-1], dtype=np.int64)  # the last cell is none: nothing replaced
    attention = {
        name: np.zeros(data.base.tokens.shape, dtype=np.float32)
        for name, heads in circuit.groups.items()
        if heads
    }
    for indices in chunks(range(len(data)), CHUNK):
        part = data.subset(indices)
        own = run_shared(model, part.base)
        for name, found in attention.items():
            role, heads = circuit.role(name), circuit.groups[name]
            found[indices] = weights_in(model, own, heads, role=role).mean(1).cpu()
        for number, source in enumerate(sources):
            donor = next((d for d in donors if d.name == source), None)
            values = _values(model, part, means=means, source=source, donor=donor)
            answers = _Answers(part, told_apart=source == ANOTHER_PROMPT)
            probs[number, -1, indices], top[number, -1, indices] = (
                x[:, 0] for x in answers.of(model, own.resid_at("last")[-1][:, None])
            )
            for chosen in together(cells):
                same_start = [cells[i] for i in chosen]
                earliest = roles(same_start[0])[0]
                for rows in by_suffix(part.base, earliest):
                    z = {role: z[:, rows] for role, z in values.items()}
                    final = _patched(model, take(own, rows), same_start, z, earliest)
                    where = np.ix_([number], chosen, [indices[i] for i in rows])
                    made, said = answers.of(model, final, rows)
                    probs[where], top[where] = made.swapaxes(0, 1)[None], said.T[None]
    return Explored(
        cells=cells,
        sources=sources,
        own=probs[:, -1],
        probs=probs[:, :-1],
        own_top=top[0, -1],
        top=top[:, :-1],
        attention=attention,
        model=model.name,
    )


def _values(
    model: Model, data: CounterfactualPrompts, *, means: Means, source: str, donor: Model | None
) -> dict[str, Tensor]:
    """What heads give at every role when they are replaced [layer example 1 head d_head]."""
    if source == MEAN:
        return {role: means.z[:, data.base.at(role)][:, :, None] for role in ACTING_ROLES}
    run = run_shared(donor, data.base) if donor else run_shared(model, data.source)
    return {role: run.z_at(role)[:, :, None] for role in ACTING_ROLES}


def _patched(
    model: Model, run: Run, cells: Sequence[Cell], values: Mapping[str, Tensor], earliest: str
) -> Tensor:
    """The last token's final residual stream, one variant per cell [example variant d_model]."""
    positions = suffix(run, earliest)
    edits = output_edits(model, run.prompts, cells, values=values, positions=positions)
    final = Replay(model, run, positions=positions, edits=edits, variants=len(cells)).final()
    return final[:, :, -1]


class _Answers:
    """Which token is of which kind, for some pairs."""

    def __init__(self, data: CounterfactualPrompts, *, told_apart: bool):
        self.objects, self.right = _objects(data.base), _slot(data.base)
        self.source, self.position = data.source.answers, _slot(data.source)
        self.told_apart = told_apart

    def of(
        self, model: Model, resid: Tensor, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities [example variant kind] and most likely tokens [example variant] of some
        examples' final residual streams [example variant d_model]."""
        rows = list(range(len(self.right)) if rows is None else rows)
        logits = model.layers.logits(resid).float()
        probs = logits.softmax(-1)

        def of_tokens(tokens: Tensor) -> Tensor:  # [example choice] -> [example variant choice]
            wanted = tokens[rows].to(probs.device)[:, None].expand(-1, probs.shape[1], -1)
            return probs.gather(2, wanted).cpu()

        among = of_tokens(self.objects)
        each = torch.arange(len(rows))
        right = among[each, :, self.right[rows]]
        position = among[each, :, self.position[rows]]
        source = of_tokens(self.source[:, None])[..., 0]
        if not self.told_apart:
            position, source = torch.zeros_like(right), torch.zeros_like(right)
        objects = among.sum(-1) - right - position
        rest = 1 - right - position - source - objects
        kinds = torch.stack([right, position, source, objects, rest], dim=-1).clamp(min=0)
        return kinds.numpy(), logits.argmax(-1).cpu().numpy()

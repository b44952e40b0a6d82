"""Cross-model activation patching (CMAP): one version runs with some heads' activations taken from
another.

Donor and receiver read the same prompts (paper, section 6.1). In *output* patching the receiver's
heads give the donor's z at their role. In *input* patching the heads compute their own z from the
donor's q, k or v: q at the role, k and v at every earlier position, as those heads alone see them.
Everything after is recomputed by the receiver; the prompts' other positions stay the receiver's
own.

Patching value fetchers hands over the answer itself, so accuracy alone says little. Every result is
therefore kept per prompt, beside the receiver's own run: what share of the prompts that it had
wrong does a patch repair, what share of those that it had right does it break, and what do other
heads at the same place do?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrack.cross_model.cells import Cell, check_cells, output_edits, roles, together
from entrack.cross_model.weight_swap import per_head_run
from entrack.errors import AlignmentError, ConfigError
from entrack.model.activations import Run, project
from entrack.model.answers import Outcome, read_out
from entrack.model.decoder import Model, check_pair
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.replay import Replay
from entrack.model.shared_runs import run_shared, take
from entrack.patching.group_patching import selection
from entrack.sites import ACTING_ROLES
from entrack.stats.metrics import Difference, Estimate, difference, mean, rate, ratio
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

CHUNK = 35


@dataclass(frozen=True)
class CrossPatch:
    """The receiver's answers with each cell patched, and unpatched, on the same prompts.

    Attributes:
        cells: what was patched, in the order of the first axis below.
        hits: whether the patched receiver answers right [cell example].
        log_prob: natural log of the right answer's probability [cell example].
        own_hits, own_log_prob: the same of the receiver alone [example].
        donor_hits, donor_log_prob: of the donor alone [example].
        scenes: which scene each prompt asks about [example]; intervals are over scenes.
        donor, receiver: names of the models.
    """

    cells: tuple[Cell, ...]
    hits: np.ndarray
    log_prob: np.ndarray
    own_hits: np.ndarray
    own_log_prob: np.ndarray
    donor_hits: np.ndarray
    donor_log_prob: np.ndarray
    scenes: np.ndarray
    donor: str
    receiver: str

    def index(self, label: str) -> int:
        """Place of a cell. Raises ConfigError for a label that no cell has."""
        labels = [cell.label for cell in self.cells]
        if label not in labels:
            raise ConfigError(
                f"no cell {label!r}; there are {', '.join(labels)}. Use one of those."
            )
        return labels.index(label)

    def accuracy(self, label: str) -> Estimate:
        """Accuracy of the patched receiver."""
        return rate(self.hits[self.index(label)], clusters=self.scenes)

    def own_accuracy(self) -> Estimate:
        """Accuracy of the receiver alone."""
        return rate(self.own_hits, clusters=self.scenes)

    def donor_accuracy(self) -> Estimate:
        """Accuracy of the donor alone."""
        return rate(self.donor_hits, clusters=self.scenes)

    def gain(self, *labels: str) -> Difference:
        """Accuracy of the patched receiver less its own, paired; over several cells (random draws)
        their mean.
        """
        patched = np.mean([self.hits[self.index(label)] for label in labels], axis=0)
        return difference(patched, self.own_hits, clusters=self.scenes)

    def closed(self, label: str) -> Estimate:
        """Share of the gap from the receiver's accuracy to the donor's that the patch closes; NaN
        without a gap.
        """
        patched = self.hits[self.index(label)].astype(float)
        return ratio(
            patched - self.own_hits,
            self.donor_hits.astype(float) - self.own_hits,
            clusters=self.scenes,
        )

    def log_prob_gain(self, *labels: str) -> Difference:
        """The same for the right answer's log probability (nats)."""
        patched = np.mean([self.log_prob[self.index(label)] for label in labels], axis=0)
        return difference(patched, self.own_log_prob, clusters=self.scenes)

    def repaired(self, *labels: str) -> Estimate | None:
        """Share of the prompts that the receiver has wrong which the patch makes right; None when
        it has none wrong.
        """
        return self._share(labels, ~self.own_hits, lambda hits: hits)

    def broken(self, *labels: str) -> Estimate | None:
        """Share of the prompts that the receiver has right which the patch makes wrong; None when
        it has none right.
        """
        return self._share(labels, self.own_hits, lambda hits: ~hits)

    def _share(self, labels, where, wanted) -> Estimate | None:
        if not where.any():
            return None
        share = np.mean([wanted(self.hits[self.index(label)]) for label in labels], axis=0)
        return mean(share[where], clusters=self.scenes[where], share=True)


def cross_patch(
    donor: Model, receiver: Model, prompts: Prompts, *, cells: Sequence[Cell]
) -> CrossPatch:
    """Run `receiver` once per cell with the cell's activations taken from `donor`. Stored.

    Args:
        prompts: read by both; all boxes of a scene in a row (`boxes.all_queries`) share the work of
            its context.

    Raises:
        ModelError: models of different shape. AlignmentError: tokenizers that read the prompts
            differently.
        SiteError: a head that the models do not have. ConfigError: no cells, or two of one label.

    Cost: per prompt and cell, the tokens from the cell's earliest role to the last, from its lowest
    head's layer on: one token for A and B, three for C, half the prompt for D and for the full
    circuit. Runs of both models besides."""
    check_pair(donor, receiver)
    check_cells(cells, receiver)
    for text, tokens, length in zip(
        prompts.texts, prompts.tokens.tolist(), prompts.lengths.tolist(), strict=True
    ):
        for model in (donor, receiver):
            if model.tokenizer(text)["input_ids"] != tokens[:length]:
                raise AlignmentError(
                    f"the tokenizer of {model.name} reads {text[:40]!r}... as other tokens than"
                    " these prompts; donor and receiver must share one. Take two versions of one"
                    " family, and encode with its tokenizer."
                )
    return _measure(donor, receiver, prompts, tuple(cells))


@stored("cmap")
@torch.no_grad()
def _measure(
    donor: Model, receiver: Model, prompts: Prompts, cells: tuple[Cell, ...]
) -> CrossPatch:
    hits = np.zeros(
        (len(cells) + 2, len(prompts)), dtype=bool
    )  # the last two rows are receiver and donor alone
    log_prob = np.zeros(hits.shape, dtype=np.float32)

    def note(outcome: Outcome, rows: list[int], columns: list[int]) -> None:
        where = np.ix_(rows, columns)
        hits[where], log_prob[where] = outcome.hit.T.cpu(), outcome.log_prob.T.float().cpu()

    for indices in chunks(range(len(prompts)), CHUNK):
        part = prompts.subset(indices)
        own, given = run_shared(receiver, part), run_shared(donor, part)
        for row, model, run in ((-2, receiver, own), (-1, donor, given)):
            note(read_out(model, run.resid_at("last")[-1][:, None], part.answers), [row], indices)
        for chosen in together(cells):
            same_start = [cells[i] for i in chosen]
            earliest = roles(same_start[0])[0]
            if same_start[0].inputs == "z":
                values = {role: given.z_at(role)[:, :, None] for role in ACTING_ROLES}
            else:
                values = {
                    earliest: torch.stack(
                        [
                            _own_z(donor, given, receiver, own, cell, earliest)
                            for cell in same_start
                        ],
                        dim=2,
                    )
                }
            for same in by_suffix(part, earliest):
                found = _patched(
                    receiver,
                    take(own, same),
                    same_start,
                    {role: z[:, same] for role, z in values.items()},
                    earliest,
                )
                note(found, chosen, [indices[i] for i in same])
    return CrossPatch(
        cells=cells,
        hits=hits[:-2],
        log_prob=log_prob[:-2],
        own_hits=hits[-2],
        own_log_prob=log_prob[-2],
        donor_hits=hits[-1],
        donor_log_prob=log_prob[-1],
        scenes=prompts.scenes,
        donor=donor.name,
        receiver=receiver.name,
    )


def _patched(
    receiver: Model, run: Run, cells: Sequence[Cell], values: Mapping[str, Tensor], earliest: str
) -> Outcome:
    """The receiver's answers, one variant per cell, with z from `values` [layer example variant
    head d_head] at each role.
    """
    positions = suffix(run, earliest)
    edits = output_edits(receiver, run.prompts, cells, values=values, positions=positions)
    return Replay(receiver, run, positions=positions, edits=edits, variants=len(cells)).outcomes()


def _own_z(donor: Model, given: Run, receiver: Model, own: Run, cell: Cell, role: str) -> Tensor:
    """What the receiver's heads give at `role` from the donor's q, k or v [layer example head
    d_head].

    Both runs are given keys and values per query head, so that each head takes its own alone.
    """
    mask = selection(receiver, cell.heads[role]).to(receiver.device)
    ours, theirs = (per_head_run(run, group_size=donor.group_size) for run in (own, given))
    for kind, name in (("k", "keys"), ("v", "values")):
        if kind in cell.inputs:
            mixed = torch.where(
                mask[:, None, :, None, None], getattr(theirs, name), getattr(ours, name)
            )
            ours = replace(ours, **{name: mixed})
    layers = sorted({h.layer for h in cell.heads[role]})
    entering, place = given.resid_at(role)[:, :, None], own.prompts.at(role)[:, None]
    edits = (
        [
            Edit(
                "q",
                layer,
                0,
                project(donor, entering[layer], place, length=given.length, kind="q", layer=layer),
                mask[None, None, layer],
            )
            for layer in layers
        ]
        if "q" in cell.inputs
        else []
    )
    made: dict[int, Tensor] = {}
    Replay(receiver, ours, positions=place, edits=edits, start=layers[0]).final(
        on_layer=lambda layer, resid, asked, z: made.update({layer: z[:, 0]})
    )
    return torch.stack([made.get(layer, z) for layer, z in enumerate(own.z_at(role))])

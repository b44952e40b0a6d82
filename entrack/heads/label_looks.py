"""What do heads behind a label attend to? Their own segment, or those before it (ours).

A pattern from behind the label that is asked for would tell of one segment only. So in every prompt
another label is taken, and tokens are sorted as seen from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from entrack.errors import SiteError
from entrack.heads.wide_circuit import segments
from entrack.model.attention import patterns
from entrack.model.decoder import Model
from entrack.sites import Head
from entrack.stats.metrics import Estimate, mean
from entrack.store.results import stored
from entrack.task.prompts import Prompts

KINDS = (
    "own label",
    "own object",
    "labels before",
    "objects before",
    "behind labels before",
    "itself",
    "first token",
    "rest",
)
"""Kinds of tokens as seen from behind a label: label and object of its own segment, those of the
segments before it and the tokens behind their labels, the token that attends, the first token,
where attention rests when it has nothing to read, and all others. None is counted twice; a later
kind of this list gives way to an earlier one, save that "itself" goes first."""


@dataclass(frozen=True)
class LabelLooks:
    """Attention of some heads from behind labels that are not asked for.

    Attributes:
        heads: the heads.
        mass: attention to each kind of KINDS [head kind example]; sums to 1 over kinds.
        scenes: which scene each example belongs to; intervals are over scenes.
    """

    heads: tuple[Head, ...]
    mass: np.ndarray
    scenes: np.ndarray

    def of(self, heads: Iterable[Head]) -> Mapping[str, Estimate]:
        """Mean attention of some of the heads to each kind, with its interval over prompts.

        Raises SiteError for no heads, or one that was not measured.
        """
        chosen = list(heads)
        unknown = [str(head) for head in chosen if head not in self.heads]
        if unknown or not chosen:
            raise SiteError(
                f"no attention of {' '.join(unknown) or 'no heads'}; measured were"
                f" {' '.join(map(str, self.heads)) or 'none'}. Ask for one of these."
            )
        averaged = self.mass[[self.heads.index(head) for head in chosen]].mean(0)
        return {
            kind: mean(row, clusters=self.scenes, share=True)
            for kind, row in zip(KINDS, averaged, strict=True)
        }


def label_looks(
    model: Model, prompts: Prompts, *, heads: Sequence[Head], structure_role: str
) -> LabelLooks:
    """Attention of `heads` from behind a label that is not asked for (at it, where `structure_role`
    says so), one label per prompt. Stored.

    Raises SiteError for a head that the model does not have, TaskError for prompts of different
    numbers of boxes. Cost: one forward pass per prompt, and one query per head."""
    return _measure(model, at_another(prompts), tuple(heads), structure_role)


@stored("label-looks")
def _measure(
    model: Model, prompts: Prompts, heads: tuple[Head, ...], structure_role: str
) -> LabelLooks:
    found = patterns(model, prompts, heads, role=structure_role).weights.double()
    kinds = token_kinds(prompts, role=structure_role)
    belongs = torch.nn.functional.one_hot(kinds, len(KINDS)).to(found.dtype)
    mass = torch.einsum("ehp,epk->hke", found, belongs)
    return LabelLooks(heads, mass.numpy(), prompts.scenes)


def token_kinds(prompts: Prompts, *, role: str) -> torch.Tensor:
    """The kind of every token, as an index into KINDS, seen from `role` of a segment [example pos].

    Labels and objects after the token count as before it: no head can see them.
    """
    labels, objects = segments(prompts)
    kinds = torch.full_like(prompts.tokens, KINDS.index("rest"))
    named = {
        "first token": torch.zeros(len(prompts), 1, dtype=torch.long),
        "behind labels before": labels + 1,
        "objects before": objects,
        "labels before": labels,
        "own object": prompts.at("correct_object")[:, None],
        "own label": prompts.at("prev_query_label")[:, None],
        "itself": prompts.at(role)[:, None],
    }
    rows = torch.arange(len(prompts))[:, None]
    # The later name holds where two fall on one token.
    for name, places in named.items():
        kinds = kinds.index_put((rows, places), torch.tensor(KINDS.index(name)))
    return kinds


def at_another(prompts: Prompts) -> Prompts:
    """The prompts with the roles of the queried segment moved to another one of the same prompt.

    Prompt i takes the segment 1 + i mod (boxes - 1) places after its own, in a circle. So what is
    measured at "after_prev_query_label" is measured behind a label that is not asked for; the
    tokens, the answer and the question stay. Raises TaskError for prompts of different numbers of
    boxes."""
    labels, objects = segments(prompts)
    own = (labels == prompts.at("prev_query_label")[:, None]).int().argmax(1)
    rows, n_boxes = torch.arange(len(prompts)), labels.shape[1]
    other = (own + 1 + rows % (n_boxes - 1)) % n_boxes
    moved = {
        "prev_query_label": labels[rows, other],
        "after_prev_query_label": labels[rows, other] + 1,
        "correct_object": objects[rows, other],
    }
    return replace(prompts, roles={**prompts.roles, **moved})

"""What do heads in a segment attend to? Their own segment, or those before it (ours).

The segment that is asked for is one of seven, and nothing in it says that it will be. So in every
prompt another one is taken, and tokens are sorted as seen from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from entrack.errors import SiteError
from entrack.heads.token_support import with_places
from entrack.heads.wide_circuit import tokens_at
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
"""Kinds of tokens as seen from a token of a segment: label and object of its own segment, those of
the segments before it and the tokens behind their labels, the token that attends, the first token,
where attention rests when it has nothing to read, and all others. None is counted twice; a later
kind of this list gives way to an earlier one, save that "itself" goes first."""

IN_SEGMENT = {
    "every object": "correct_object",
    "every label": "prev_query_label",
    "after every label": "after_prev_query_label",
}
"""Tokens of all boxes -> the role of that of one segment."""


@dataclass(frozen=True)
class SegmentLooks:
    """Attention of some heads from one token of segments that are not asked for.

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


def segment_looks(
    model: Model, prompts: Prompts, *, heads: Sequence[Head], place: str
) -> SegmentLooks:
    """Attention of `heads` from a token of a segment that is not asked for, one segment per prompt.
    Stored.

    Args:
        place: the token, by role; "every object", "every label" and "after every label" stand for
            that of the segment.

    Raises SiteError for a head that the model does not have, TaskError for prompts of different
    numbers of boxes, AlignmentError for an unknown role. Cost: one forward pass per prompt, and one
    query per head."""
    return _measure(
        model, at_another(with_places(prompts)), tuple(heads), IN_SEGMENT.get(place, place)
    )


@stored("segment-looks")
def _measure(model: Model, prompts: Prompts, heads: tuple[Head, ...], role: str) -> SegmentLooks:
    found = patterns(model, prompts, heads, role=role).weights.double()
    kinds = token_kinds(prompts, role=role)
    belongs = torch.nn.functional.one_hot(kinds, len(KINDS)).to(found.dtype)
    mass = torch.einsum("ehp,epk->hke", found, belongs)
    return SegmentLooks(heads, mass.numpy(), prompts.scenes)


def token_kinds(prompts: Prompts, *, role: str) -> torch.Tensor:
    """The kind of every token, as an index into KINDS, seen from `role` of a segment [example pos].

    Labels and objects after the token count as before it: no head can see them.
    """
    labels, objects = (tokens_at(prompts, f"every {word}") for word in ("label", "object"))
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
    labels, objects = (tokens_at(prompts, f"every {word}") for word in ("label", "object"))
    own = (labels == prompts.at("prev_query_label")[:, None]).int().argmax(1)
    rows, n_boxes = torch.arange(len(prompts)), labels.shape[1]
    other = (own + 1 + rows % (n_boxes - 1)) % n_boxes
    moved = {
        "prev_query_label": labels[rows, other],
        "after_prev_query_label": labels[rows, other] + 1,
        "correct_object": objects[rows, other],
    }
    return replace(prompts, roles={**prompts.roles, **moved})

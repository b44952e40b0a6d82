"""Edits of a replay, and the positions that it runs again.

Three words for what is put in, each built on the one before:

    Edit   (here)                tensors: some heads' vectors of one layer at one replayed position
    Patch  (patching.patches)    heads, or the residual stream, at a token role, taken from a source
                                 prompt; becomes one Edit a layer
    Cell   (cross_model.cells)   heads at one role or several, their outputs or inputs, taken from
                                 a donor on the same prompt; becomes Edits role by role
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from entrack.errors import AlignmentError
from entrack.model.activations import Run
from entrack.task.prompts import Prompts

KINDS = ("q", "k", "v", "z")


@dataclass(frozen=True, eq=False)
class Edit:
    """Replace some heads' vectors of one layer at one replayed position.

    Attributes:
        kind: "z" head output before `o_proj`; "q", "k", "v" what attention reads, after the norms
            and the rotary embedding of q and k: a value must come from the same position. k and v
            are addressed per query head, also where several share a kv-head.
        layer: 0-based.
        slot: which of the replayed positions (column of `positions`).
        value: replacement [example variant head d_head]; the first two axes may be 1.
        mask: which heads, and how much: 1 replaced, 0 kept [example variant head]; the first two
            may be 1. Boolean, or float for a blend `(1 - mask) * own + mask * value` that gradients
            pass through.
    """

    kind: str
    layer: int
    slot: int
    value: Tensor
    mask: Tensor

    def of_variants(self, variants: slice) -> "Edit":
        """The same edit for some of the variants."""
        cut = {
            name: tensor if tensor.shape[1] == 1 else tensor[:, variants]
            for name, tensor in (("value", self.value), ("mask", self.mask))
        }
        return replace(self, **cut)

    def apply(self, vectors: Tensor) -> Tensor:
        """`vectors` [example variant slot head d_head] with this edit made."""
        own, mask = vectors[:, :, self.slot], self.mask[..., None]
        value = self.value.to(own.dtype)
        new = (
            torch.where(mask, value, own)
            if mask.dtype == torch.bool
            else torch.lerp(own, value, mask.to(own.dtype))
        )
        return torch.cat(
            [
                vectors[:, :, : self.slot],
                new.expand_as(own)[:, :, None],
                vectors[:, :, self.slot + 1 :],
            ],
            dim=2,
        )


def suffix(run: Run, role: str) -> Tensor:
    """All positions from `role` to the last one [example slot]; the first slot is the role's own.

    Raises AlignmentError when the examples' suffixes differ in length: group them by length first.
    """
    first, last = run.prompts.at(role), run.prompts.at("last")
    lengths = (last - first).unique()
    if len(lengths) != 1 or lengths[0] < 0:
        raise AlignmentError(
            f"the positions from {role!r} to the last one number {(lengths + 1).tolist()} in these"
            " prompts; one replay needs the same number in each. Group the prompts with by_suffix."
        )
    return first[:, None] + torch.arange(int(lengths[0]) + 1)


def by_suffix(prompts: Prompts, role: str) -> list[list[int]]:
    """Indices of the prompts, grouped by the distance from `role` to the last position,
    ascending.
    """
    distance = (prompts.at("last") - prompts.at(role)).tolist()
    return [[i for i, d in enumerate(distance) if d == length] for length in sorted(set(distance))]

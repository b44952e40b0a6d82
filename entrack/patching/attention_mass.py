"""How much every head attends to what, over many prompts: attention patterns in numbers.

A pattern on one prompt is an example. Here the attention that each head pays from one token role is
summed over nine kinds of tokens, which leave no token out and count none twice, and kept for every
prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.errors import SiteError
from entrack.model.attention import patterns
from entrack.model.decoder import Model
from entrack.sites import Head, all_heads, check_heads
from entrack.stats.metrics import Estimate, mean
from entrack.store.results import stored
from entrack.task.prompts import Prompts

KINDS = (
    "correct_object",
    "other_objects",
    "prev_query_label",
    "after_prev_query_label",
    "other_labels",
    "query_label",
    "itself",
    "first",
    "rest",
)
"""Kinds of tokens: the queried box's object and label in the context and the token after that
label, objects and labels of other boxes, the label in the question, the token that attends, the
first token (where attention rests when it has nothing to read), and all others."""


@dataclass(frozen=True)
class AttentionMass:
    """Attention of every head from one role.

    Attributes:
        role: where the queries stand.
        mass: attention to each kind of KINDS [layer head kind example]; sums to 1 over kinds.
        scenes: which scene each example belongs to; intervals are over scenes.
        model: name of the model.
    """

    role: str
    mass: np.ndarray
    scenes: np.ndarray
    model: str

    def of(self, heads: Iterable[Head]) -> dict[str, Estimate]:
        """Mean attention of some heads to each kind, with its interval over prompts.

        Raises SiteError for no heads, or one that the model does not have.
        """
        chosen = check_heads(heads, *self.mass.shape[:2])
        if not chosen:
            raise SiteError("no heads to average; at least one is needed. Name some.")
        averaged = np.mean([self.mass[h.layer, h.head] for h in chosen], axis=0)
        return {
            kind: mean(row, clusters=self.scenes, share=True)
            for kind, row in zip(KINDS, averaged, strict=True)
        }

    @property
    def everywhere(self) -> dict[str, float]:
        """Mean attention over all heads and prompts: what a head chosen at random does."""
        return dict(zip(KINDS, self.mass.mean((0, 1, 3)).tolist(), strict=True))


def attention_mass(model: Model, prompts: Prompts, *, role: str) -> AttentionMass:
    """Attention of all heads from `role` to every kind of token. Stored.

    Raises AlignmentError for an unknown role, or prompts that differ in their number of boxes.
    Cost: one forward pass per prompt, and one query per head.
    """
    return _measure(model, prompts, role)


def token_kinds(prompts: Prompts, *, role: str) -> Tensor:
    """The kind of every token, as an index into KINDS, seen from `role` [example pos]."""
    kinds = torch.full_like(prompts.tokens, KINDS.index("rest"))
    rows = torch.arange(len(prompts))
    named = [("first", torch.zeros(len(prompts), 1, dtype=torch.long))]
    named += [(f"other_{kind}s", places) for kind, places in prompts.segments.items()]
    named += [
        (name, prompts.at(name)[:, None])
        for name in ("correct_object", "prev_query_label", "after_prev_query_label", "query_label")
    ]
    named.append(("itself", prompts.at(role)[:, None]))
    # The later name holds where two fall on one token.
    for name, places in named:
        kinds = kinds.index_put((rows[:, None], places), torch.tensor(KINDS.index(name)))
    return kinds


@stored("attention-mass")
def _measure(model: Model, prompts: Prompts, role: str) -> AttentionMass:
    kinds = token_kinds(prompts, role=role)
    found = patterns(model, prompts, all_heads(model.n_layers, model.n_heads), role=role)
    belongs = torch.nn.functional.one_hot(kinds, len(KINDS)).to(found.weights.dtype)
    mass = torch.einsum("ehp,epk->hke", found.weights, belongs).unflatten(
        0, (model.n_layers, model.n_heads)
    )
    return AttentionMass(
        role=role,
        mass=mass.numpy(),
        scenes=prompts.scenes,
        model=model.name,
    )

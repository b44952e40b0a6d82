"""Activation patching of head groups: what a base prompt answers with some heads taken from a
source prompt.

The paper's test of what a group of heads carries (section 5.2): run the base, replace the outputs
of the group's heads at the group's token by those of a source prompt, and see which object the
model names. `task.counterfactual_pairs` makes pairs in which every idea of what is carried predicts
another word; here the patched answers are collected and read.

Two references stand beside each patch: the *floor*, the same pairs with nothing patched, and the
*ceiling*, the whole residual stream of the token patched instead of some heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from entrack.errors import ConfigError, SiteError
from entrack.model.activations import Run
from entrack.model.answers import read_out
from entrack.model.decoder import Model, check_pair
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.replay import Replay
from entrack.model.shared_runs import run_shared, take
from entrack.patching.patches import Patch, Patched
from entrack.sites import ACTING_ROLES, Head, check_heads
from entrack.store.results import stored
from entrack.task.counterfactual_prompts import CounterfactualPrompts
from entrack.task.prompts import chunks

SOURCE_ROLES = (*ACTING_ROLES, "correct_object")
CHUNK = 49  # pairs whose runs are held at once: seven scenes of seven boxes, 1 GB for SmolLM2


@dataclass(frozen=True, eq=False)
class Prepared:
    """Pairs and the clean runs that patching needs, made when first asked for.

    Attributes:
        model, data: which model runs which pairs.
        expected_candidate: the name of `data.answers` among the candidates: "label" for
            `counterfactual_pairs.interchanges`, else the first candidate of the desideratum.
        donor: the model that reads the sources, if it is another than the one that is patched.
    """

    model: Model
    data: CounterfactualPrompts
    expected_candidate: str = "label"
    donor: Model | None = None

    @property
    def candidates(self) -> dict[str, Tensor]:
        """The token that each idea predicts: name -> Long[example]."""
        return {self.expected_candidate: self.data.answers, **self.data.alternatives}

    @cached_property
    def base(self) -> Run:
        """Clean run of the bases, without head outputs, which nobody reads."""
        parts = chunks(range(len(self.data)), CHUNK)
        runs = [run_shared(self.model, self.data.base.subset(part)) for part in parts]
        kept = {
            name: torch.cat([getattr(run, name) for run in runs], dim=1)
            for name in ("resid", "keys", "values")
        }
        return Run(prompts=self.data.base, z=runs[0].z[:0], **kept)

    @cached_property
    def source(self) -> Mapping[str, Tensor]:
        """Head outputs of the sources at every role [layer example head d_head]."""
        return {role: z for role, (z, _) in self._sources.items()}

    @cached_property
    def source_resid(self) -> Mapping[str, Tensor]:
        """Residual stream of the sources at every role [layer+1 example d_model]."""
        return {role: resid for role, (_, resid) in self._sources.items()}

    @property
    def source_answers(self) -> Tensor:
        """The most likely token of every unpatched source [example]."""
        leaving = self.source_resid["last"][-1][:, None]
        reader = self.donor or self.model
        return read_out(reader, leaving, self.data.source.answers).top[:, 0].cpu()

    @cached_property
    def _sources(self) -> dict[str, tuple[Tensor, Tensor]]:
        found: dict[str, list[tuple[Tensor, Tensor]]] = {role: [] for role in SOURCE_ROLES}
        for part in chunks(range(len(self.data)), CHUNK):
            run = run_shared(self.donor or self.model, self.data.source.subset(part))
            for role in SOURCE_ROLES:
                found[role].append((run.z_at(role), run.resid_at(role)))
        return {
            role: tuple(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
            for role, parts in found.items()
        }


def patch_pairs(
    model: Model,
    data: CounterfactualPrompts,
    *,
    patches: Mapping[str, Patch],
    expected_candidate: str = "label",
    donor: Model | None = None,
) -> Patched:
    """The answer of every base with each of `patches` taken from its source. Stored.

    Args:
        expected_candidate, donor: see `Prepared`. With a donor this is an interchange across
            models: `model` reads the base, the donor the source (ours; the paper patches across
            models on one prompt, and between prompts within one model).

    Raises:
        ModelError: a donor of another shape than `model`.
        SiteError: a head or layer that the model does not have.
        ConfigError: no patches, or a patch of both heads and residual stream.
    """
    if not patches:
        raise ConfigError(
            "no patches; at least one is needed. Name some heads, or a layer of the residual"
            " stream."
        )
    for name, patch in patches.items():
        if patch.heads and patch.resid is not None:
            raise ConfigError(
                f"patch {name!r} of {len(patch.heads)} heads and of the residual stream; it is one"
                " or the other. Make two patches."
            )
        check_heads(patch.heads, model.n_layers, model.n_heads)
        if patch.resid is not None and not 0 <= patch.resid <= model.n_layers:
            raise SiteError(
                f"no residual stream at layer {patch.resid}; {model.name} has layers 0 to"
                f" {model.n_layers}, the last being its end. Use one of them."
            )
    if donor is not None:
        check_pair(donor, model)
    return _patch_pairs(model, data, dict(patches), expected_candidate, donor)


@torch.no_grad()
def answers_with(prepared: Prepared, *, patches: Sequence[Patch]) -> Tensor:
    """The most likely token [patch example] with each of `patches` made."""
    prompts = prepared.data.base
    rows, last = torch.arange(len(prompts)), prompts.at("last")
    plain = (
        read_out(prepared.model, prepared.base.resid[-1][rows, last][:, None], prompts.answers)
        .top[:, 0]
        .cpu()
    )
    found = plain.expand(len(patches), -1).clone()
    batches: dict[tuple[str, int, int | None], list[int]] = {}
    for index, patch in enumerate(patches):
        if patch.start is not None:
            batches.setdefault((patch.role, patch.start, patch.resid), []).append(index)
    for (role, start, resid), chosen in batches.items():
        for indices in by_suffix(prompts, role):
            tops = _tops(
                prepared, indices, [patches[i] for i in chosen], role=role, start=start, resid=resid
            )
            found[torch.tensor(chosen)[:, None], torch.tensor(indices)] = tops.T.cpu()
    return found


def _tops(
    prepared: Prepared,
    indices: Sequence[int],
    patches: Sequence[Patch],
    *,
    role: str,
    start: int,
    resid: int | None,
) -> Tensor:
    """The most likely token [example patch] of some examples, for patches at one role from one
    layer on.
    """
    model, run = prepared.model, take(prepared.base, indices)
    positions = suffix(run, role).to(model.device)
    if resid is not None:
        entering = run.resid[resid][torch.arange(len(indices))[:, None], positions]
        changed = torch.cat(
            [prepared.source_resid[role][resid][list(indices)][:, None], entering[:, 1:]], dim=1
        )
        if resid == model.n_layers:
            return read_out(model, changed[:, -1:], run.prompts.answers).top
        found = Replay(
            model,
            run,
            positions=positions,
            start=resid,
            resid=changed[:, None],
            variants=len(patches),
        )
        return found.outcomes().top
    weights = torch.stack([selection(model, patch.heads) for patch in patches]).to(model.device)
    edits = head_edits(
        prepared,
        indices,
        role=role,
        weights=weights,
        layers=sorted({h.layer for p in patches for h in p.heads}),
    )
    found = Replay(model, run, positions=positions, edits=edits, variants=len(patches), start=start)
    return found.outcomes().top


def selection(model: Model, heads: Sequence[Head]) -> Tensor:
    """Which heads these are, as booleans [layer head]."""
    chosen = {(h.layer, h.head) for h in heads}
    return torch.tensor(
        [
            [(layer, head) in chosen for head in range(model.n_heads)]
            for layer in range(model.n_layers)
        ]
    )


def head_edits(
    prepared: Prepared, indices: Sequence[int], *, role: str, weights: Tensor, layers: Sequence[int]
) -> list[Edit]:
    """Edits at slot 0 that take heads of `layers` from the source as far as `weights` [variant
    layer head] say.
    """
    source = prepared.source[role]
    return [
        Edit("z", layer, 0, source[layer][list(indices)][:, None], weights[None, :, layer])
        for layer in layers
    ]


@stored("patched")
def _patch_pairs(
    model: Model,
    data: CounterfactualPrompts,
    patches: dict[str, Patch],
    expected_candidate: str,
    donor: Model | None,
) -> Patched:
    answers, unpatched = [], []
    for part in chunks(range(len(data)), CHUNK):
        prepared = Prepared(model, data.subset(part), expected_candidate, donor)
        found = answers_with(prepared, patches=[Patch("last"), *patches.values()]).numpy()
        unpatched.append(found[0])
        answers.append(found[1:])
    candidates = {
        name: tokens.numpy()
        for name, tokens in Prepared(model, data, expected_candidate).candidates.items()
    }
    return Patched(
        patches=patches,
        candidates=candidates,
        answers=np.concatenate(answers, axis=1),
        unpatched=np.concatenate(unpatched),
        scenes=data.base.scenes,
        model=model.name,
    )

"""Desiderata-based component masking: which heads of a group must be taken from the source to meet
a desideratum.

Davies et al. 2023, as the paper uses it (section 5.1). Each head of a group has a weight W in [0,
1]: 1 keeps its own output, 0 takes the source's, and between them the two are blended. W minimises

    - mean logit of the expected answer + penalty * sum(1 - W)

so a head is taken from the source if that raises the logit by more than `penalty`. Training,
validation and test use scenes of different splits. All penalties are learned at once, as variants
of one replay: only the tokens from the group's role on and the layers from its lowest head on are
computed, forward and backward, on top of stored clean runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.model.decoder import Model
from entrack.model.edits import by_suffix, suffix
from entrack.model.replay import Replay
from entrack.model.shared_runs import take
from entrack.patching.group_patching import Prepared, answers_with, head_edits
from entrack.patching.masks import DCMConfig, MaskPath, Masks
from entrack.patching.patches import Patch
from entrack.sites import Head, check_heads
from entrack.store.results import stored

PUBLISHED = DCMConfig(
    penalties=(0.01,), steps=64, batch=32, every=4, seeds=(0,), prefer="more", slack=0.0
)
"""The paper's settings: one penalty, the best of 16 looks at the validation set, and more heads
where they tie.
"""


def learn_masks(
    model: Model,
    train: Prepared,
    *,
    validation: Prepared,
    circuit: Circuit,
    group: str,
    target: str,
    config: DCMConfig = DCMConfig(),
) -> Masks:
    """Masks over the heads of `group` that make the base answer as candidate `target` predicts.
    Stored seed by seed.

    Args:
        train, validation: pairs of different splits, with the same candidates.
        target: name of one of the candidates.

    Raises:
        SiteError: the group is empty, or has a head that the model does not have.
        ConfigError: an unknown target.

    Cost: per seed `steps * batch * penalties` times the tokens from the group's role on, through
    the layers from its lowest head on, forward and backward; and as many forward passes as there
    are masks on the validation pairs."""
    heads = check_heads(circuit.groups[group], model.n_layers, model.n_heads)
    if not heads:
        raise SiteError(
            f"the group {group} of this circuit is empty; a mask needs a head. Prune less, or leave"
            " the group out."
        )
    for prepared in (train, validation):
        targets(prepared, target)
    paths = tuple(
        _learn(
            train,
            validation,
            heads,
            circuit.role(group),
            target,
            seed,
            penalties=config.penalties,
            learning_rate=config.learning_rate,
            steps=config.steps,
            batch=config.batch,
            every=config.every,
        )
        for seed in config.seeds
    )
    return Masks(
        group=group,
        target=target,
        heads=heads,
        paths=paths,
        n_validation=len(validation.data),
        config=config,
    )


def targets(prepared: Prepared, target: str) -> Tensor:
    """The expected tokens [example]. Raises ConfigError for a candidate that the pairs do not
    have.
    """
    if target not in prepared.candidates:
        raise ConfigError(
            f"no candidate {target!r}; these pairs have {', '.join(prepared.candidates)}. Use one"
            " of them."
        )
    return prepared.candidates[target]


def target_logit(
    prepared: Prepared,
    indices: Sequence[int],
    *,
    heads: Sequence[Head],
    role: str,
    weights: Tensor,
    target: str,
) -> Tensor:
    """Logit of the expected answer [example variant] with weights W [variant head] on the group's
    heads.

    The examples come in the order of their suffix lengths. Gradients flow to `weights`.
    """
    model = prepared.model
    place = torch.zeros(len(heads), model.n_layers * model.n_heads, device=model.device)
    place[torch.arange(len(heads)), [h.layer * model.n_heads + h.head for h in heads]] = 1
    patched = ((1 - weights) @ place).unflatten(-1, (model.n_layers, model.n_heads))
    layers, wanted = sorted({h.layer for h in heads}), targets(prepared, target)
    found = []
    for group in by_suffix(prepared.data.base.subset(indices), role):
        chosen = [indices[i] for i in group]
        run = take(prepared.base, chosen)
        edits = head_edits(prepared, chosen, role=role, weights=patched, layers=layers)
        final = Replay(
            model, run, positions=suffix(run, role), edits=edits, variants=len(weights)
        ).final()
        # One row of the unembedding is enough: the loss does not look at other words.
        tokens = wanted[chosen].to(model.device)[:, None].expand(-1, len(weights))
        found.append(model.layers.logit(final[:, :, -1], tokens))
    return torch.cat(found)


@stored("mask")
def _learn(
    train: Prepared,
    validation: Prepared,
    heads: Sequence[Head],
    role: str,
    target: str,
    seed: int,
    *,
    penalties: Sequence[float],
    learning_rate: float,
    steps: int,
    batch: int,
    every: int,
) -> MaskPath:
    """The masks of one seed. What chooses among them later, and which other seeds there are, is no
    argument: the result does not depend on it.
    """
    device = train.model.device
    weights = torch.ones(len(penalties), len(heads), device=device, requires_grad=True)
    price = torch.tensor(penalties, device=device)
    adam = torch.optim.Adam([weights], lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    noted = {(False,) * len(heads): -1}
    for step in range(1, steps + 1):
        if len(order) < batch:
            order += torch.randperm(len(train.data), generator=generator).tolist()
        drawn, order = order[:batch], order[batch:]
        with torch.no_grad():
            weights.clamp_(0, 1)  # the one tensor that is edited in place, as every optimiser does
        logit = target_logit(train, drawn, heads=heads, role=role, weights=weights, target=target)
        # Each penalty's loss depends on its own row of weights alone, so one sum serves them all.
        loss = (-logit.mean(0) + price * (1 - weights).sum(-1)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step == steps or (every and step % every == 0):
            for index, row in enumerate((weights.detach() < 0.5).tolist()):
                noted.setdefault(tuple(row), index)
    masks = np.array(list(noted))
    patches = [
        Patch(role, tuple(h for h, patched in zip(heads, mask, strict=True) if patched))
        for mask in masks
    ]
    hits = answers_with(validation, patches=patches) == targets(validation, target)
    return MaskPath(
        weights=weights.detach().clamp(0, 1).cpu().numpy(),
        noted=masks,
        validation=hits.double().mean(1).numpy(),
        penalty=np.array(list(noted.values())),
    )

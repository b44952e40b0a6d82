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

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.model.decoder import Model
from entrack.model.replay import by_suffix, replay, suffix
from entrack.model.sites import Head, check_heads
from entrack.patching.group_patching import (
    Patch,
    Prepared,
    answers_with,
    head_edits,
    take,
)
from entrack.store.results import stored


@dataclass(frozen=True)
class DCMConfig:
    """How masks are learned and one of them is chosen.

    Attributes:
        penalties: price of a patched head, in logits of the expected answer; one mask is learned
            for each.
        learning_rate: of Adam.
        steps, batch: number of steps, and pairs per step.
        every: the rounded masks are noted for validation every so many steps; 0 = at the end only.
        seeds: each draws its own order of training pairs.
        prefer: which mask is chosen among those that validate equally well, the one of "fewer" or
            of "more" heads.
        slack: what "equally well" is: within so many standard errors of the best validation score.
    """

    penalties: tuple[float, ...] = (0.01, 0.1, 0.3, 1.0)
    learning_rate: float = 0.1
    steps: int = 16
    batch: int = 14
    every: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    prefer: str = "fewer"
    slack: float = 1.0

    def __post_init__(self) -> None:
        for penalty in self.penalties:
            if not 0 <= penalty < math.inf:
                raise ConfigError(f"penalty {penalty}; it is a price, 0 or more. Use 0.01, say.")
        for name, values in (("penalties", self.penalties), ("seeds", self.seeds)):
            if not values:
                raise ConfigError(f"no {name}; at least one is needed. Give some.")
        for name, low in (("steps", 1), ("batch", 1), ("every", 0)):
            if getattr(self, name) < low:
                raise ConfigError(
                    f"{name} {getattr(self, name)}; allowed are {low} and more. Use a larger"
                    " number."
                )
        if self.prefer not in ("fewer", "more"):
            raise ConfigError(
                f"prefer {self.prefer!r}; allowed are 'fewer' and 'more'. Use one of them."
            )


PUBLISHED = DCMConfig(
    penalties=(0.01,), steps=64, batch=32, every=4, seeds=(0,), prefer="more", slack=0.0
)
"""The paper's settings: one penalty, the best of 16 looks at the validation set, and more heads
where they tie.
"""


@dataclass(frozen=True)
class MaskPath:
    """The masks of one seed, from many heads to few.

    Attributes:
        weights: W at the end of training [penalty head], 1 = kept, 0 = taken from the source.
        noted: rounded masks to choose from, no two alike, the empty one first [mask head]; True =
            patched.
        validation: share of validation pairs with the expected answer [mask].
        penalty: index of the penalty that gave a mask, -1 for the empty one [mask].
    """

    weights: np.ndarray
    noted: np.ndarray
    validation: np.ndarray
    penalty: np.ndarray

    def chosen(self, config: DCMConfig, n: int) -> int:
        """Index of the mask that `config` prefers, for validation scores over `n` pairs."""
        best = self.validation.max()
        near = np.flatnonzero(
            self.validation >= best - config.slack * math.sqrt(best * (1 - best) / n) - 1e-9
        )
        sizes = self.noted[near].sum(1)
        wanted = near[sizes == (sizes.min() if config.prefer == "fewer" else sizes.max())]
        return int(wanted[self.validation[wanted].argmax()])


@dataclass(frozen=True)
class Masks:
    """What DCM finds for one group and one desideratum.

    Attributes:
        group, target: the group, and the candidate that counts as the expected answer.
        heads: the group's heads, the axis of all masks.
        paths: one per seed.
        n_validation: pairs behind the validation scores.
        config: the settings.
    """

    group: str
    target: str
    heads: tuple[Head, ...]
    paths: tuple[MaskPath, ...]
    n_validation: int
    config: DCMConfig

    def selected(self, seed: int) -> frozenset[Head]:
        """The heads that the mask of a seed (its index) takes from the source."""
        path = self.paths[seed]
        return self._heads(path.noted[path.chosen(self.config, self.n_validation)])

    def agreed(self) -> tuple[Head, ...]:
        """The heads that more than half of the seeds select."""
        return tuple(h for h in self.heads if self.frequency(h) > 0.5)

    def frequency(self, head: Head) -> float:
        """Share of the seeds that select a head."""
        return sum(head in self.selected(s) for s in range(len(self.paths))) / len(self.paths)

    def stability(self) -> float:
        """Mean overlap of the heads of two seeds, shared heads divided by all of both; 1 = always
        the same.

        Two empty selections are the same. NaN with a single seed.
        """
        chosen = [self.selected(s) for s in range(len(self.paths))]
        pairs = [(a, b) for i, a in enumerate(chosen) for b in chosen[i + 1 :]]
        return (
            float(np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs]))
            if pairs
            else float("nan")
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of patched heads and validation score of every mask of every seed, by number."""
        sizes = np.concatenate([path.noted.sum(1) for path in self.paths])
        scores = np.concatenate([path.validation for path in self.paths])
        order = np.lexsort((scores, sizes))
        return sizes[order], scores[order]

    def _heads(self, mask: np.ndarray) -> frozenset[Head]:
        return frozenset(h for h, patched in zip(self.heads, mask, strict=True) if patched)


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
        final = replay(model, run, positions=suffix(run, role), edits=edits, variants=len(weights))
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

"""What a head says about the answer by itself: its output, read by the unembedding.

Path patching tells how much a head matters, attention where it looks. Neither says what it writes.
Here a head's output at the last token is taken out of the final residual stream, and the logits of
the scene's objects are compared before and after (known as *direct logit attribution*). A head that
fetches the right object lifts it above the others; one that lowers it is a *negative head*; one
that lifts all objects alike says that an object is due, and not which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entrack.errors import TaskError
from entrack.model.activations import clean_runs
from entrack.model.decoder import Model
from entrack.sites import Head
from entrack.stats.metrics import Difference, Estimate, difference, mean
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class Writes:
    """What one head adds to the logits of a scene's objects, directly.

    Attributes:
        head: the head.
        logits: logit of each object less that without the head's output [example slot]; 0 = it says
            nothing of this object, negative = it speaks against it.
        right: which slot holds the right object [example].
    """

    head: Head
    logits: np.ndarray
    right: np.ndarray

    @property
    def of_right(self) -> Estimate:
        """Mean over prompts for the right object [logits]."""
        return mean(self._right)

    @property
    def of_others(self) -> Estimate:
        """Mean over prompts and the other objects [logits]."""
        return mean(self._others)

    @property
    def lead(self) -> Difference:
        """The right object less the mean of the others, prompt by prompt [logits]."""
        return difference(self._right, self._others)

    @property
    def _right(self) -> np.ndarray:
        return self.logits[np.arange(len(self.right)), self.right]

    @property
    def _others(self) -> np.ndarray:
        n = self.logits.shape[1]
        return (self.logits.sum(1) - self._right) / (n - 1)


@torch.no_grad()
def writes(model: Model, prompts: Prompts, *, heads: Sequence[Head]) -> Mapping[Head, Writes]:
    """What each of `heads` writes at the last token about the objects of the scene.

    The final norm is applied anew without the head. Where a norm stands behind the attention, what
    is taken out is the output before that norm.

    Raises TaskError for prompts that do not all have the same number of boxes.
    Cost: one forward pass per prompt, and two readings per head."""
    if not prompts.segments:
        raise TaskError(
            "prompts of different numbers of boxes; the objects of a scene are compared slot by"
            " slot. Use prompts with one number of boxes."
        )
    objects = prompts.tokens.gather(1, prompts.segments["object"])
    right = (objects == prompts.answers[:, None]).int().argmax(1)
    found: dict[Head, list[np.ndarray]] = {head: [] for head in heads}
    for covered, run in clean_runs(model, prompts):
        asked = objects[list(covered)].to(model.device)
        final, z = run.resid_at("last")[-1], run.z_at("last")
        whole = model.layers.logits(final).float().gather(1, asked)
        for head in heads:
            alone = torch.zeros_like(z[head.layer])
            nothing = model.layers.output(head.layer, alone)
            alone[:, head.head] = z[head.layer, :, head.head]
            written = model.layers.output(head.layer, alone) - nothing
            without = model.layers.logits(final - written).float().gather(1, asked)
            found[head].append((whole - without).cpu().numpy())
    return {
        head: Writes(head, np.concatenate(parts), right.numpy()) for head, parts in found.items()
    }

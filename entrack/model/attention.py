"""Where attention heads look: patterns computed from a clean run, only for the heads and the token
asked for.

The keys are the clean run's own; the query is made again from the residual stream by the layer
itself. That gives Hugging Face's eager attention weights (tests compare the two) without keeping
every pattern of a model, which fused attention does not give out at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entrack.errors import AlignmentError
from entrack.model.activations import Run, clean_runs
from entrack.model.decoder import Model
from entrack.sites import Head, check_heads
from entrack.task.prompts import Prompts


@dataclass(frozen=True, eq=False)
class Patterns:
    """Attention of some heads from one token role to everything before it.

    Attributes:
        prompts: what was run.
        role: where the heads' queries stand.
        heads: the heads, in the order of `weights`.
        weights: attention, which sums to 1 over positions; 0 after the query's own position
            [example head pos].
    """

    prompts: Prompts
    role: str
    heads: tuple[Head, ...]
    weights: Tensor

    def on(self, role: str) -> Tensor:
        """Attention to the token of `role` [example head]; 0 where it stands after the query."""
        return self.weights.gather(
            2, self.prompts.at(role)[:, None, None].expand(-1, len(self.heads), 1)
        )[..., 0]

    def by_box(self, kind: str) -> Tensor:
        """Attention to every box's "object" or "label" in the context [example head slot], in the
        order of the text.

        Raises AlignmentError for another kind, or for prompts that differ in their number of boxes.
        """
        if kind not in self.prompts.segments:
            raise AlignmentError(
                f"no {kind!r} of each box in these prompts; allowed are 'object' and 'label', in"
                " prompts that all have the same number of boxes. Ask for one of them."
            )
        places = self.prompts.segments[kind][:, None].expand(-1, len(self.heads), -1)
        return self.weights.gather(2, places)


@torch.no_grad()
def patterns(model: Model, prompts: Prompts, heads: Sequence[Head], *, role: str) -> Patterns:
    """The attention of `heads` from the token at `role`, in unedited runs of `prompts`.

    Raises:
        SiteError: a head that the model does not have.
        AlignmentError: an unknown role.

    Cost: one forward pass without the logits; one query per head on top.
    """
    heads = check_heads(heads, model.n_layers, model.n_heads)
    found = [
        weights_in(model, run, heads, role=role).cpu() for _, run in clean_runs(model, prompts)
    ]
    return Patterns(prompts=prompts, role=role, heads=heads, weights=torch.cat(found))


def weights_in(model: Model, run: Run, heads: Sequence[Head], *, role: str) -> Tensor:
    """The attention of `heads` from the token at `role` in a run that is there already [example
    head pos].
    """
    position = run.prompts.at(role).to(model.device)[:, None]
    entering = run.resid_at(role)[:, :, None]
    places = model.layers.places(position, length=run.length)
    asked = {
        layer: model.layers.read(layer, entering[layer], places)
        for layer in {head.layer for head in heads}
    }
    every = torch.arange(run.length, device=model.device)

    def weights(head: Head) -> Tensor:
        inputs = asked[head.layer]
        keys = run.keys[head.layer][:, head.head // model.group_size]  # [example pos d_head]
        scores = inputs.scores((keys @ inputs.q[:, head.head].transpose(1, 2))[..., 0])
        hidden = ~inputs.visible(position, every)[:, 0]
        return scores.float().masked_fill(hidden, float("-inf")).softmax(-1)

    return torch.stack([weights(head) for head in heads], dim=1)

"""A recipe trained once more while some heads must stay as they are (ours).

It stands apart from what is asked of the models that come of it (`held_heads`), so that a change
there trains nothing anew."""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from entrack.across.checkpoints import Adapter
from entrack.circuits import Circuit
from entrack.errors import SiteError
from entrack.finetune.data import items
from entrack.finetune.recipes import Recipe
from entrack.finetune.train import fit
from entrack.model.decoder import Model
from entrack.sites import GROUPS, Head
from entrack.store.digests import cache_dir, code_digest, digest
from entrack.store.results import stored


@stored("held-adapter")
def adapter_without(parent: Model, recipe: Recipe, step: int, *, heads: Sequence[Head]) -> Adapter:
    """The adapter that `recipe` makes of `parent` in `step` steps if it may not change `heads`.
    Stored; an interrupted training goes on.

    After every step the rows of a head's q, k and v and its columns of o are set back to nothing.
    Heads that share a kv-head share its k and v, so a held head holds those of its siblings too.

    Args:
        parent: on the CPU in float32, as `entrack train` loads it. Its weights stay as they are.

    Raises:
        ConfigError: a step out of range.
        SiteError: a head that the model does not have.
        DataError: the cache cannot be written to.

    Cost: as `checkpoints.adapter_at`.
    """
    wrong = [h for h in heads if h.layer >= parent.n_layers or h.head >= parent.n_heads]
    if wrong:
        raise SiteError(
            f"no head {wrong[0]} in {parent.name}; it has {parent.n_layers} layers of"
            f" {parent.n_heads} heads. Name heads of this model."
        )
    made_by = digest(recipe, parent, heads, code_digest("entrack.finetune.train"))
    weights, _ = fit(
        copy.deepcopy(parent.hf),
        parent.tokenizer,
        recipe.changed(steps=step),
        items(recipe.data, recipe.horizon * recipe.batch, seed=recipe.seed),
        checkpoint=cache_dir() / "courses" / made_by / "checkpoint.safetensors",
        after_step=lambda model: hold(model, parent, heads),
    )
    return Adapter(step, {name: w.half().cpu().numpy() for name, w in weights.items()})


@torch.no_grad()
def hold(peft_model, parent: Model, heads: Sequence[Head]) -> None:
    """Set the adapter of `heads` to nothing, in place; `fit` calls it after every step."""
    size = parent.d_head
    for name, weight in peft_model.named_parameters():
        for head in heads:
            if f".layers.{head.layer}." not in name:
                continue
            own = slice(head.head * size, (head.head + 1) * size)
            shared = head.head // parent.group_size
            kv = slice(shared * size, (shared + 1) * size)
            if "q_proj.lora_B" in name:
                weight[own] = 0
            elif "k_proj.lora_B" in name or "v_proj.lora_B" in name:
                weight[kv] = 0
            elif "o_proj.lora_A" in name:
                weight[:, own] = 0


def neighbours(circuit: Circuit, *, n_heads: int, seed: int) -> tuple[Head, ...]:
    """As many heads as a circuit has, in its layers, none of them its own, drawn at random. Where a
    layer has too few others, all of those.
    """
    own = sorted({head for name in GROUPS for head in circuit.groups[name]})
    generator, found = np.random.default_rng(seed), []
    for layer in sorted({head.layer for head in own}):
        taken = {head.head for head in own if head.layer == layer}
        others = [h for h in range(n_heads) if h not in taken]
        drawn = generator.choice(others, size=min(len(taken), len(others)), replace=False)
        found += [Head(layer, int(h)) for h in sorted(drawn)]
    return tuple(found)

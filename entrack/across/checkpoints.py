"""Versions on their way: the models that a version was while it was trained.

A recipe is trained once more, by `finetune.train.fit` and on the same stream of data, and the
adapter is kept at the steps that are asked for. Each becomes a `Model` with a name and a digest of
its own, so that every experiment runs on it as on any version."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from entrack.finetune.data import items
from entrack.finetune.recipes import RECIPES, Recipe
from entrack.finetune.train import fit
from entrack.model.decoder import Model
from entrack.store.digests import cache_dir, code_digest, digest
from entrack.store.results import stored
from entrack.versions.families import adapter_folder


@dataclass(frozen=True)
class Adapter:
    """What training has added to a model by one step.

    Attributes:
        step: optimiser steps made.
        weights: peft's name -> weight in float16, as `entrack train` writes them.
    """

    step: int
    weights: Mapping[str, np.ndarray]


def recipe_of(family: str, version: str) -> Recipe | None:
    """The recipe that made a version; None for a family without recipes, or for a version that
    was not made here (the first of a family, a model from a hub).
    """
    return RECIPES.get(family, {}).get(version)


@stored("adapter")
def adapter_at(parent: Model, recipe: Recipe, step: int) -> Adapter:
    """The adapter that `recipe` has made of `parent` after `step` steps. Stored.

    Training goes on from where the last call for the same recipe and parent ended, or was
    interrupted, if that is not beyond `step`; else it begins anew. Either way the weights are the
    same. So steps are best asked for in ascending order.

    Args:
        parent: on the CPU in float32, as `entrack train` loads it. Its weights stay as they are.
        recipe: what is trained.
        step: 1 to the recipe's number of steps.

    Raises:
        ConfigError: a step out of range.
        DataError: the cache cannot be written to.

    Cost: about 2 s a step on one core for the default model, and 22 MB in the cache to go on from.
    """
    short = recipe.changed(steps=step)
    made_by = digest(recipe, parent, code_digest("entrack.finetune.train"))
    file = cache_dir() / "courses" / made_by / "checkpoint.safetensors"
    if _done(file) > step:
        file.unlink()
    data = items(recipe.data, recipe.horizon * recipe.batch, seed=recipe.seed)
    weights, _ = fit(copy.deepcopy(parent.hf), parent.tokenizer, short, data, checkpoint=file)
    return Adapter(step, {name: w.half().cpu().numpy() for name, w in weights.items()})


def model_at(parent: Model, recipe: Recipe, adapter: Adapter) -> Model:
    """`parent` with the adapter merged in the parent's own dtype, read at the first use: named
    after the version that it is on the way to and its step, such as "smollm2/code at step 50".

    Cost: a copy of the parent's weights in memory, for as long as the result lives.
    """

    lora = recipe.lora()

    def read() -> Any:
        from peft import get_peft_model, set_peft_model_state_dict

        wrapped = get_peft_model(copy.deepcopy(parent.hf), lora)
        weights = {name: torch.from_numpy(w).float() for name, w in adapter.weights.items()}
        set_peft_model_state_dict(wrapped, weights)
        return wrapped.merge_and_unload().eval().requires_grad_(False)

    return replace(
        parent,
        name=f"{parent.family}/{recipe.name} at step {adapter.step}",
        digest=digest(parent.digest, adapter, lora.lora_alpha / lora.r),
        read=read,
        version="",
    )


def distance(adapter: Adapter, family: str, version: str) -> float | None:
    """How far an adapter is from the one that stands in `models/` for a version: the norm of the
    difference over the norm of that one. 0 = bit for bit; None where there is none to compare.
    """
    file = adapter_folder(family, version) / "adapter_model.safetensors"
    if not file.is_file():
        return None
    shipped = {name: w.float() for name, w in load_file(file).items()}
    if shipped.keys() != adapter.weights.keys():
        return None
    apart = [
        torch.from_numpy(adapter.weights[name]).float() - weight for name, weight in shipped.items()
    ]
    return _norm(apart) / _norm(list(shipped.values()))


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.cat([t.double().flatten() for t in tensors]).norm())


def _done(file: Path) -> int:
    """Steps made by the run that a checkpoint belongs to; 0 where there is none. A damaged one is
    left for `fit` to name.
    """
    if not file.is_file():
        return 0
    try:
        with safe_open(file, "pt") as opened:
            return json.loads(opened.metadata()["record"])["done"]
    except (SafetensorError, KeyError, ValueError, TypeError):
        return 0

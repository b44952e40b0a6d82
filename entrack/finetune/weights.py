"""What a recipe trains of a model, and the files that hold it: an adapter, or a whole model for a
full fine-tune; and the checkpoint from which an interrupted run goes on."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from entrack.errors import DataError, ModelError
from entrack.finetune.recipes import Recipe
from entrack.model.decoder import Model
from entrack.store.digests import write_atomic
from entrack.versions.needs import free_memory

COPIES = 9
"""What a full fine-tune needs beside the weights, in float32 copies of them: gradients, AdamW's two
moments, and while a checkpoint is written twice the three tensors that it keeps of each weight."""


def trainable(hf: Any, recipe: Recipe) -> Any:
    """`hf` with what `recipe` trains asking for gradients: an adapter wrapped around it, whose
    first weights are drawn by the recipe's seed, or all weights of it.

    Raises ModelError where the memory does not hold a full fine-tune."""
    if recipe.full:
        _check_memory(hf, recipe)
        return hf.requires_grad_(True)
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = get_peft_model(hf, recipe.lora())
    if recipe.dtype == "bfloat16":
        _halve_frozen_projections(model)
    return model


def decoder(model: Any) -> Any:
    """The decoder itself of what `trainable` gave."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of what was trained, in float32: an adapter's weights under peft's names, or all
    weights under the model's own, shared ones once.
    """
    from peft import get_peft_model_state_dict

    found = (
        get_peft_model_state_dict(model)
        if hasattr(model, "peft_config")
        else dict(model.named_parameters())
    )
    return {name: weight.detach().clone() for name, weight in found.items()}


def save_adapter(
    weights: dict[str, torch.Tensor], recipe: Recipe, folder: Path, *, family: str
) -> Path:
    """Write the adapter in peft's layout, weights in fp16; returns the file of weights."""
    path = folder / "adapter_model.safetensors"
    _write(path, {name: weight.half() for name, weight in weights.items()}, {"format": "pt"})
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in recipe.lora().to_dict().items()}
    config |= {"inference_mode": True, "base_model_name_or_path": f"{family}/{recipe.on}"}
    write_atomic(
        folder / "adapter_config.json",
        (json.dumps(config, indent=1, sort_keys=True) + "\n").encode(),
    )
    return path


def save_whole(weights: dict[str, torch.Tensor], parent: Model, folder: Path) -> Path:
    """Write all weights, in float32, with the config and the tokenizer of the version that they
    stand on: a folder that `versions.loading.load` takes. Returns the file of weights.
    """
    path = folder / "model.safetensors"
    _write(path, weights, {"format": "pt"})
    parent.config.save_pretrained(folder)
    parent.tokenizer.save_pretrained(folder)
    return path


def read_trained(folder: Path, recipe: Recipe, parent: Model) -> Any:
    """The model that `save_whole` or `save_adapter` wrote, the adapter merged in float32 into
    `parent`, whose weights it changes.
    """
    if recipe.full:
        from transformers import AutoModelForCausalLM

        whole = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        return whole.eval()
    from peft import PeftModel

    return PeftModel.from_pretrained(parent.hf, str(folder)).merge_and_unload().eval()


def save_checkpoint(
    path: Path, trained: dict, optimiser: Any, done: int, curve: list, losses: list
) -> None:
    """Write what `resume` needs after `done` steps."""
    tensors = {f"weight/{name}": p.detach() for name, p in trained.items()}
    for name, p in trained.items():
        tensors |= {
            f"{kind}/{name}": optimiser.state[p][kind] for kind in ("exp_avg", "exp_avg_sq")
        }
    _write(path, tensors, {"record": json.dumps({"done": done, "curve": curve, "losses": losses})})


def resume(path: Path | None, trained: dict, optimiser: Any) -> tuple[int, list, list]:
    """Put the weights and moments of a checkpoint back in place; returns the steps that were made,
    the curve, and the losses since its last row. Nothing is done where there is no checkpoint.
    DataError for a damaged one."""
    if path is None or not path.is_file():
        return 0, [], []
    try:
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()["record"])
            for name, p in trained.items():
                p.data.copy_(file.get_tensor(f"weight/{name}"))
                moments = {
                    kind: file.get_tensor(f"{kind}/{name}") for kind in ("exp_avg", "exp_avg_sq")
                }
                optimiser.state[p] = {"step": torch.tensor(float(record["done"])), **moments}
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"checkpoint {path} is damaged ({error}); a whole one is needed to go on. "
            "Delete it to start again."
        ) from error
    return record["done"], record["curve"], record["losses"]


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(whole, metadata=metadata))


def _check_memory(hf: Any, recipe: Recipe) -> None:
    """Before the first step, not at the first checkpoint, where it would run out."""
    needed = COPIES * 4 * sum(p.numel() for p in hf.parameters())
    free = free_memory("cpu")
    if free < needed:
        raise ModelError(
            f"{recipe.name!r} trains every weight and needs {needed / 1e9:.1f} GB of memory beside"
            f" them; {free / 1e9:.1f} GB are free. Close other programs, or train a recipe with an"
            " adapter."
        )


def _halve_frozen_projections(model: Any) -> None:
    """Autocast would convert these weights anew at every step."""
    for name, module in model.named_modules():
        if (
            isinstance(module, torch.nn.Linear)
            and "lora_" not in name
            and not name.endswith("lm_head")
        ):
            module.weight.data = module.weight.data.bfloat16()

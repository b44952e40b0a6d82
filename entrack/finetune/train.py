"""Fine-tune one version of a family, as its recipe says, into an adapter with a card.

The frozen weights may be held in bfloat16 while training (`Recipe.dtype`); the adapter, the
optimiser and the residual stream are float32 throughout, and what is measured for the card is the
stored adapter merged in float32."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from entrack.errors import DataError
from entrack.finetune.data import Item, items
from entrack.finetune.measure import box_accuracy, change, summary
from entrack.finetune.recipes import RECIPES, Recipe, recipe
from entrack.model.layers import Layers
from entrack.store.digests import cache_dir, digest, write_atomic
from entrack.task.prompts import opening
from entrack.versions.families import MODELS
from entrack.versions.loading import load
from entrack.versions.wheels import sha256_file

CHECKPOINT_EVERY = 20  # steps; half a minute of work to lose
VALIDATION_SCENES, EVALUATION_SCENES = 70, 100  # of seven prompts each


def train(
    name: str,
    *,
    family: str,
    steps: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
) -> dict:
    """Make the version `name` of `family` and return its card.

    Args:
        name: one of the family's recipes (`recipes.RECIPES`) or tries (`recipes.TRIES`).
        family: the lineage it belongs to.
        steps: stop after so many steps instead of the recipe's; the learning rate goes as in the
            recipe.
        seed: draws the data and the adapter's first weights instead of the recipe's.
        out: folder for adapter_model.safetensors, adapter_config.json and card.json. By default
            `models/<family>/<name>`, and for a try, another number of steps or another seed a
            folder of its own under `runs/models/<family>`.

    Raises:
        ConfigError: unknown name or family, fewer than one step.
        ModelError: the version that it stands on is missing or damaged.
        DataError: the folder cannot be written to.

    An interrupted run goes on from its last checkpoint (in the cache) when called again with the
    same arguments, and ends with the same weights. The evaluation split is measured only for a
    recipe of the family with its own number of steps. Anything else is a try: it is judged on the
    validation split, paired with the version that it stands on.

    Cost: about 2 s a step on one core for the default model, and two minutes of measuring.
    """
    usual = recipe(name, family)
    chosen = usual.changed(steps=steps, seed=seed)
    folder = Path(out) if out is not None else _default_folder(chosen, family)
    parent = load(f"{family}/{chosen.on}", device="cpu", dtype=torch.float32)
    data = items(chosen.data, chosen.horizon * chosen.batch, seed=chosen.seed)
    data_digest = digest(data[: chosen.steps * chosen.batch])
    checkpoint = (
        cache_dir()
        / "finetune"
        / digest(chosen, data_digest, parent.digest)
        / "checkpoint.safetensors"
    )
    weights, curve = fit(
        parent.hf, parent.tokenizer, chosen, data, checkpoint=checkpoint, validate=_validate
    )
    adapter = save_adapter(weights, chosen, folder, family=family)
    card = {
        "name": name,
        "family": family,
        "on": chosen.on,
        "on_digest": parent.digest,
        "recipe": chosen.record(),
        "seed": chosen.seed,
        "data_digest": data_digest,
        "adapter_sha256": sha256_file(adapter),
        "adapter_bytes": adapter.stat().st_size,
        "curve": curve,
        "accuracy": measure(
            folder,
            chosen,
            family=family,
            final=name in RECIPES[family] and chosen.steps == usual.steps,
        ),
    }
    write_atomic(folder / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    checkpoint.unlink(missing_ok=True)
    return card


def fit(
    hf: Any,
    tokenizer: Any,
    recipe: Recipe,
    data: list[Item],
    *,
    checkpoint: Path | None = None,
    validate: Callable[[Any, Any], dict] | None = None,
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Train an adapter on `hf`, which is used up: its modules are wrapped and its weights may
    change dtype.

    Args:
        data: step s takes items s*batch to (s+1)*batch, so an interrupted run sees the same stream.
        checkpoint: file to save to every CHECKPOINT_EVERY steps and at the end, and to go on from.
        validate: called with (model, tokenizer) every `recipe.validate_every` steps.

    Returns: the adapter's float32 weights under peft's names, and the curve: {"step", "loss" (mean
    of the steps since the row before, nats per answer token), and what `validate` gave}, one row
    per validation."""
    from peft import get_peft_model, get_peft_model_state_dict

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = get_peft_model(hf, recipe.lora())
    if recipe.dtype == "bfloat16":
        _halve_frozen_projections(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=recipe.lr, weight_decay=0.0)
    first, curve, losses = _resume(checkpoint, trained, optimiser)
    model.train()
    bar = tqdm(
        range(first, recipe.steps), initial=first, total=recipe.steps, desc=recipe.name, unit="step"
    )
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr * recipe.schedule(step)
        batch = data[step * recipe.batch : (step + 1) * recipe.batch]
        loss = _loss(model, tokenizer, batch, recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), recipe.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
        done = step + 1
        if validate and (done % recipe.validate_every == 0 or done == recipe.steps):
            with _autocast(recipe):
                row = {
                    "step": done,
                    "loss": round(sum(losses) / len(losses), 4),
                    **validate(model, tokenizer),
                }
            curve, losses = [*curve, row], []
            bar.write(json.dumps(row), file=sys.stderr)
        if checkpoint and (done % CHECKPOINT_EVERY == 0 or done == recipe.steps):
            _save_checkpoint(checkpoint, trained, optimiser, done, curve, losses)
    return {k: v.detach().clone() for k, v in get_peft_model_state_dict(model).items()}, curve


def save_adapter(
    weights: dict[str, torch.Tensor], recipe: Recipe, folder: Path, *, family: str
) -> Path:
    """Write the adapter in peft's layout, weights in fp16; returns the file of weights."""
    path = folder / "adapter_model.safetensors"
    write_atomic(
        path,
        save({k: v.half().contiguous() for k, v in weights.items()}, metadata={"format": "pt"}),
    )
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in recipe.lora().to_dict().items()}
    config |= {"inference_mode": True, "base_model_name_or_path": f"{family}/{recipe.on}"}
    write_atomic(
        folder / "adapter_config.json",
        (json.dumps(config, indent=1, sort_keys=True) + "\n").encode(),
    )
    return path


def measure(folder: Path, recipe: Recipe, *, family: str, final: bool) -> dict:
    """Accuracy of the stored adapter, merged in float32, per split and format.

    final: the evaluation split as well. Otherwise each accuracy comes with "minus_on", its paired
    difference from the version that the adapter stands on."""
    from peft import PeftModel

    parent = load(f"{family}/{recipe.on}", device="cpu", dtype=torch.float32)
    sizes = {"validation": VALIDATION_SCENES} | ({"evaluation": EVALUATION_SCENES} if final else {})
    asked = [
        (split, n, format) for split, n in sizes.items() for format in ("alternative", "standard")
    ]
    before = (
        {}
        if final
        else {
            place: box_accuracy(
                parent.hf, parent.tokenizer, split=place[0], n_scenes=place[1], format=place[2]
            )
            for place in asked
        }
    )
    hf = PeftModel.from_pretrained(parent.hf, str(folder)).merge_and_unload().eval()
    found: dict[str, dict] = {split: {} for split in sizes}
    for place in asked:
        split, n, format = place
        accuracy = box_accuracy(hf, parent.tokenizer, split=split, n_scenes=n, format=format)
        found[split][format] = summary(accuracy) | (
            {"minus_on": change(accuracy, before[place])} if before else {}
        )
    return found


def _default_folder(chosen: Recipe, family: str) -> Path:
    """Only the recipe itself may replace the version that experiments load."""
    if chosen == RECIPES[family].get(chosen.name):
        return MODELS / family / chosen.name
    own = f"{chosen.name}-{chosen.steps}-steps-seed-{chosen.seed}"
    return MODELS.parent / "runs" / "models" / family / own


def _validate(model: Any, tokenizer: Any) -> dict:
    asked = {"split": "validation", "n_scenes": VALIDATION_SCENES}
    return {
        f: summary(box_accuracy(model.get_base_model(), tokenizer, format=f, **asked))["accuracy"]
        for f in ("alternative", "standard")
    }


def _loss(model: Any, tokenizer: Any, batch: list[Item], recipe: Recipe) -> torch.Tensor:
    """Mean cross-entropy over the answers' tokens [nats]. Only their logits are computed."""
    bare = tokenizer([item.prompt for item in batch], add_special_tokens=False)["input_ids"]
    prompts = [opening(tokenizer) + prompt for prompt in bare]
    answers = tokenizer([item.answer for item in batch], add_special_tokens=False)["input_ids"]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True)) - 1
    tokens = torch.zeros(
        len(batch), width, dtype=torch.long
    )  # padded on the right, where no real token looks
    rows, places, targets = [], [], []
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        tokens[row, : len(prompt) + len(answer) - 1] = torch.tensor((prompt + answer)[:-1])
        rows += [row] * len(answer)
        places += range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        targets += answer
    core = model.get_base_model()
    with _autocast(recipe):
        normed = core.base_model(input_ids=tokens, use_cache=False).last_hidden_state[rows, places]
    logits = Layers(core, name=recipe.name).unembed(normed.float())
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets))


def _autocast(recipe: Recipe) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.dtype == "bfloat16")


def _halve_frozen_projections(model: Any) -> None:
    """Autocast would convert these weights anew at every step."""
    for name, module in model.named_modules():
        if (
            isinstance(module, torch.nn.Linear)
            and "lora_" not in name
            and not name.endswith("lm_head")
        ):
            module.weight.data = module.weight.data.bfloat16()


def _save_checkpoint(
    path: Path, trained: dict, optimiser: Any, done: int, curve: list, losses: list
) -> None:
    tensors = {f"weight/{name}": p.detach() for name, p in trained.items()}
    for name, p in trained.items():
        tensors |= {
            f"{kind}/{name}": optimiser.state[p][kind] for kind in ("exp_avg", "exp_avg_sq")
        }
    record = json.dumps({"done": done, "curve": curve, "losses": losses})
    write_atomic(
        path, save({k: v.contiguous() for k, v in tensors.items()}, metadata={"record": record})
    )


def _resume(path: Path | None, trained: dict, optimiser: Any) -> tuple[int, list, list]:
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

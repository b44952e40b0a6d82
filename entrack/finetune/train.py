"""Fine-tune one version of a family, as its recipe says, into an adapter with a card; or, where the
recipe trains every weight, into a whole model with one.

The frozen weights may be held in bfloat16 while training (`Recipe.dtype`); what is trained, the
optimiser and the residual stream are float32 throughout, and what is measured for the card is what
was stored, an adapter merged in float32."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from entrack.finetune.data import Item, items
from entrack.finetune.measure import box_accuracy, change, summary
from entrack.finetune.recipes import RECIPES, Recipe, recipe
from entrack.finetune.weights import (
    decoder,
    read_trained,
    resume,
    save_adapter,
    save_checkpoint,
    save_whole,
    trainable,
    trained_weights,
)
from entrack.model.layers import Layers
from entrack.store.digests import cache_dir, digest, write_atomic
from entrack.task.prompts import opening
from entrack.versions.families import MODELS, adapter_folder
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
        out: folder for adapter_model.safetensors, adapter_config.json and card.json; for a full
            fine-tune a whole model stands there instead of the adapter. By default
            `models/<family>/<name>`, and for a try, another number of steps or another seed a
            folder of its own under `runs/models/<family>`.

    Raises:
        ConfigError: unknown name or family, fewer than one step.
        ModelError: the version that it stands on is missing or damaged, or a full fine-tune does
            not fit into the memory.
        DataError: the folder cannot be written to.

    An interrupted run goes on from its last checkpoint (in the cache) when called again with the
    same arguments, and ends with the same weights. The evaluation split is measured only for a
    recipe of the family with its own number of steps. Anything else is a try: it is judged on the
    validation split, paired with the version that it stands on. A full fine-tune of the recipe's
    length is judged on both splits, and paired with the version of the same data that has an
    adapter, too.

    Cost: about 2 s a step on one core for the default model, and two minutes of measuring. A full
    fine-tune takes longer, 8 GB of memory and 4 GB of disk while it runs; 0.5 GB of
    these stay.
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
    if chosen.full:
        kind, file = "weights", save_whole(weights, parent, folder)
    else:
        kind, file = "adapter", save_adapter(weights, chosen, folder, family=family)
    whole_length = chosen.steps == usual.steps
    card = {
        "name": name,
        "family": family,
        "on": chosen.on,
        "on_digest": parent.digest,
        "recipe": chosen.record(),
        "seed": chosen.seed,
        "data_digest": data_digest,
        f"{kind}_sha256": sha256_file(file),
        f"{kind}_bytes": file.stat().st_size,
        "curve": curve,
        "accuracy": measure(
            folder,
            chosen,
            family=family,
            final=whole_length and (chosen.full or name in RECIPES[family]),
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
    after_step: Callable[[Any], None] | None = None,
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Train an adapter on `hf`, or all of it, as the recipe says. `hf` is used up: its modules are
    wrapped and its weights may change dtype, or its weights are those that are trained.

    Args:
        data: step s takes items s*batch to (s+1)*batch, so an interrupted run sees the same stream.
        checkpoint: file to save to every CHECKPOINT_EVERY steps and at the end, and to go on from.
        validate: called with (model, tokenizer) every `recipe.validate_every` steps.
        after_step: called with the model after every step of the optimiser, before it is validated
            or kept; it may change the weights in place.

    Returns: the adapter's float32 weights under peft's names (for a full fine-tune all weights
    under the model's own), and the curve: {"step", "loss" (mean of the steps since the row before,
    nats per answer token), and what `validate` gave}, one row per validation."""
    model = trainable(hf, recipe)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=recipe.lr, weight_decay=0.0)
    first, curve, losses = resume(checkpoint, trained, optimiser)
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
        if after_step:
            after_step(model)
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
            save_checkpoint(checkpoint, trained, optimiser, done, curve, losses)
    return trained_weights(model), curve


def measure(folder: Path, recipe: Recipe, *, family: str, final: bool) -> dict:
    """Accuracy of what was stored, in float32, per split and format.

    final: the evaluation split as well. Otherwise, and for a full fine-tune, each accuracy comes
    with "minus_on", its paired difference from the version that it stands on. That of a full
    fine-tune comes with "minus_adapter" too, the difference from the version of the family that
    learnt from the same data on the same version; where it has none, or none is here, without."""
    sizes = {"validation": VALIDATION_SCENES} | ({"evaluation": EVALUATION_SCENES} if final else {})
    places = [(split, format) for split in sizes for format in ("alternative", "standard")]

    def ask(hf: Any) -> dict:
        return {
            (split, f): box_accuracy(hf, tokenizer, split=split, n_scenes=sizes[split], format=f)
            for split, f in places
        }

    parent = load(f"{family}/{recipe.on}", device="cpu", dtype=torch.float32)
    tokenizer = parent.tokenizer
    others = {"minus_on": ask(parent.hf)} if recipe.full or not final else {}
    if recipe.full and (twin := _twin(recipe, family)):
        adapted = load(f"{family}/{twin}", device="cpu", dtype=torch.float32)
        others["minus_adapter"] = ask(adapted.hf)
    own = ask(read_trained(folder, recipe, parent))
    found: dict[str, dict] = {split: {} for split in sizes}
    for split, format in places:
        scores = own[split, format]
        found[split][format] = summary(scores) | {
            key: change(scores, other[split, format]) for key, other in others.items()
        }
    return found


def _twin(recipe: Recipe, family: str) -> str | None:
    """The version here that learnt from the same data, on the same version, with an adapter."""
    same = (
        name
        for name, one in RECIPES[family].items()
        if (one.data, one.on, one.full) == (recipe.data, recipe.on, False)
        and (adapter_folder(family, name) / "card.json").is_file()
    )
    return next(same, None)


def _default_folder(chosen: Recipe, family: str) -> Path:
    """Only the recipe itself may replace the version that experiments load."""
    if chosen == RECIPES[family].get(chosen.name):
        return MODELS / family / chosen.name
    own = f"{chosen.name}-{chosen.steps}-steps-seed-{chosen.seed}"
    return MODELS.parent / "runs" / "models" / family / own


def _validate(model: Any, tokenizer: Any) -> dict:
    asked = {"split": "validation", "n_scenes": VALIDATION_SCENES}
    return {
        f: summary(box_accuracy(decoder(model), tokenizer, format=f, **asked))["accuracy"]
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
    core = decoder(model)
    with _autocast(recipe):
        normed = core.base_model(input_ids=tokens, use_cache=False).last_hidden_state[rows, places]
    logits = Layers(core, name=recipe.name).unembed(normed.float())
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets))


def _autocast(recipe: Recipe) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.dtype == "bfloat16")

"""Models on the way to a version: the same weights however training was cut into pieces."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model

from entrack.across import checkpoints
from entrack.across.checkpoints import Adapter, adapter_at, distance, model_at, recipe_of
from entrack.errors import DataError
from entrack.finetune import train as trainer
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.data import items
from entrack.finetune.recipes import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")
TOKENS = torch.arange(12)[None] + 3


def tiny_recipe(dtype="float32"):
    return Recipe(
        "tiny", on="gqa", data=BoxesData((2, 3)), steps=4, horizon=8, warmup=2, batch=4,
        rank=2, alpha=4, lr=1e-2, dtype=dtype,
    )  # fmt: skip


def straight(recipe, step):
    """What the trainer gives in one go, as it is written to a file."""
    model = tiny_model()
    data = items(recipe.data, 32, seed=recipe.seed)
    weights, _ = trainer.fit(model.hf, model.tokenizer, recipe.changed(steps=step), data)
    return {name: w.half().numpy() for name, w in weights.items()}


def same(adapter, weights):
    assert adapter.weights.keys() == weights.keys()
    return all(np.array_equal(adapter.weights[name], w) for name, w in weights.items())


def count_steps(monkeypatch, stop_at=None):
    """A list that grows with every step of training; the step `stop_at` is interrupted."""
    made, loss = [], trainer._loss

    def counted(*args):
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append(1)
        return loss(*args)

    monkeypatch.setattr(trainer, "_loss", counted)
    return made


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_course_in_pieces_has_the_weights_of_one_in_one_go(monkeypatch, dtype):
    recipe, parent = tiny_recipe(dtype), tiny_model()
    expected = {step: straight(recipe, step) for step in (1, 3, 4)}
    made = count_steps(monkeypatch)
    for step, weights in expected.items():
        assert same(adapter_at(parent, recipe, step), weights)
    assert len(made) == 4, "each step is trained once"
    assert not same(adapter_at(parent, recipe, 3), expected[4])
    assert len(made) == 4, "what was trained is kept"


def test_an_interrupted_course_goes_on(monkeypatch):
    recipe, parent = tiny_recipe(), tiny_model()
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 2)
    expected = straight(recipe, 4)
    with monkeypatch.context() as patch:
        count_steps(patch, stop_at=3)
        with pytest.raises(KeyboardInterrupt):
            adapter_at(parent, recipe, 4)
    made = count_steps(monkeypatch)
    assert same(adapter_at(parent, recipe, 4), expected)
    assert len(made) == 2


def test_an_earlier_step_is_trained_from_the_start(monkeypatch):
    recipe, parent = tiny_recipe(), tiny_model()
    adapter_at(parent, recipe, 3)
    expected = straight(recipe, 2)
    made = count_steps(monkeypatch)
    assert same(adapter_at(parent, recipe, 2), expected)
    assert len(made) == 2


def test_a_damaged_checkpoint_is_named(own_cache, tmp_path, monkeypatch):
    recipe, parent = tiny_recipe(), tiny_model()
    adapter_at(parent, recipe, 1)
    (file,) = (tmp_path / "courses").rglob("checkpoint.safetensors")
    file.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a tensor file")
    with pytest.raises(DataError, match="Delete it to start again"):
        adapter_at(parent, recipe, 2)


def test_another_recipe_or_parent_is_another_course():
    parent = tiny_model()
    one = adapter_at(parent, tiny_recipe(), 2)
    assert not same(adapter_at(parent, tiny_recipe().changed(seed=5), 2), one.weights)
    assert not same(adapter_at(tiny_model(seed=1), tiny_recipe(), 2), one.weights)


def logits(model):
    with torch.no_grad():
        return model.hf(TOKENS).logits


def test_a_checkpoint_is_the_parent_with_its_adapter_merged(tmp_path):
    from peft import PeftModel

    recipe, parent = tiny_recipe(), tiny_model()
    before = logits(parent)
    adapter = adapter_at(parent, recipe, 3)
    model = model_at(parent, recipe, adapter)
    weights = {name: torch.from_numpy(w) for name, w in adapter.weights.items()}
    trainer.save_adapter(weights, recipe, tmp_path, family="tiny")
    own = PeftModel.from_pretrained(tiny_model().hf, str(tmp_path)).merge_and_unload()
    assert torch.equal(logits(model), own(TOKENS).logits)
    assert not torch.equal(logits(model), before)
    assert torch.equal(logits(parent), before), "the parent stays as it is"
    assert model.name == "tiny/tiny at step 3" and not model.hf.training
    model.self_check()


def test_each_checkpoint_has_an_identity_of_its_own():
    recipe, parent = tiny_recipe(), tiny_model()
    early, late = (model_at(parent, recipe, adapter_at(parent, recipe, s)) for s in (1, 2))
    assert len({parent.digest, early.digest, late.digest}) == 3
    again = model_at(parent, recipe, adapter_at(parent, recipe, 1))
    assert again.identity == early.identity
    renamed = Adapter(1, adapter_at(parent, recipe, 2).weights)
    assert model_at(parent, recipe, renamed).digest != early.digest


def test_an_adapter_that_adds_nothing_is_the_parent():
    recipe, parent = tiny_recipe(), tiny_model()
    weights = {
        name: np.zeros_like(w) if "lora_B" in name else w
        for name, w in adapter_at(parent, recipe, 1).weights.items()
    }
    assert torch.equal(logits(model_at(parent, recipe, Adapter(0, weights))), logits(parent))


def test_the_distance_to_a_version(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path))
    (tmp_path / "own.json").write_text(json.dumps({"versions": {}}))
    adapter = adapter_at(tiny_model(), tiny_recipe(), 2)
    assert distance(adapter, "own", "tiny") is None, "no such version is there"
    weights = {name: torch.from_numpy(w) for name, w in adapter.weights.items()}
    trainer.save_adapter(weights, tiny_recipe(), tmp_path / "own" / "tiny", family="own")
    assert distance(adapter, "own", "tiny") == 0
    file = tmp_path / "own" / "tiny" / "adapter_model.safetensors"
    save_file({name: w / 2 for name, w in load_file(file).items()}, file)
    assert distance(adapter, "own", "tiny") == pytest.approx(1, rel=1e-3)
    save_file({"another": torch.zeros(2)}, file)
    assert distance(adapter, "own", "tiny") is None, "an adapter of other matrices"


def test_recipes_are_those_of_the_family():
    assert recipe_of("smollm2", "code").on == "base"
    assert recipe_of("smollm2", "raw") is None is recipe_of("llama-7b", "goat")
    assert checkpoints.recipe_of("smollm2", "base").steps == 32

"""Training with heads held: their adapter is nothing, others learn, a cut changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import CIRCUIT, tiny_model

from entrack.across import held_adapters, look_up_tables
from entrack.across.checkpoints import model_at
from entrack.across.held_adapters import adapter_without, neighbours
from entrack.across.held_heads import CIRCUIT as HELD
from entrack.across.held_heads import FREE, START, HeldCourses, train_held
from entrack.across.look_ups import BOXES, LOOK_UPS, encode_look_ups
from entrack.errors import SiteError
from entrack.finetune import train as trainer
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.data import items
from entrack.finetune.recipes import Recipe
from entrack.patching.accuracy import score_task
from entrack.sites import GROUPS, Head
from entrack.task.boxes import LABELS
from entrack.task.draws import examples, scenes

pytestmark = pytest.mark.usefixtures("own_cache")

RECIPE = Recipe(
    "tiny", on="gqa", data=BoxesData((2, 3)), steps=4, horizon=8, warmup=2, batch=4,
    rank=2, alpha=4, lr=1e-2, dtype="float32",
)  # fmt: skip
D, HEADS = 8, [Head(2, 1), Head(3, 3)]


def update(adapter, layer, matrix):
    """The change of one matrix, B times A [out, in]."""
    key = f"base_model.model.model.layers.{layer}.self_attn.{matrix}_proj.lora_"
    parts = (torch.from_numpy(adapter.weights[f"{key}{x}.weight"]).float() for x in "BA")
    b, a = parts
    return b @ a


def test_held_heads_are_as_before_and_the_others_learn():
    adapter = adapter_without(tiny_model(), RECIPE, 4, heads=HEADS)
    for layer in range(5):
        q, o = update(adapter, layer, "q"), update(adapter, layer, "o")
        for head in range(4):
            rows, kv = slice(head * D, (head + 1) * D), slice(head // 2 * D, (head // 2 + 1) * D)
            held = Head(layer, head) in HEADS
            assert bool((q[rows] == 0).all()) == held
            assert bool((o[:, rows] == 0).all()) == held
            shares = any(h.layer == layer and h.head // 2 == head // 2 for h in HEADS)
            for matrix in "kv":
                assert bool((update(adapter, layer, matrix)[kv] == 0).all()) == shares


def test_a_held_head_gives_what_it_gave_for_the_same_input():
    """Where nothing below it changes either: all heads of layers 0 and 1 are held."""
    everything = [Head(layer, head) for layer in range(2) for head in range(4)]
    parent = tiny_model()
    adapter = adapter_without(parent, RECIPE, 4, heads=everything)
    model = model_at(parent, RECIPE, adapter)
    tokens = torch.arange(12)[None] + 3
    with torch.no_grad():
        before, after = (
            m.hf(tokens, output_hidden_states=True).hidden_states for m in (parent, model)
        )
    assert torch.equal(before[2], after[2]) and not torch.equal(before[5], after[5])


def test_an_interrupted_training_goes_on(monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 2)
    loss, made = trainer._loss, []

    def counted(*args):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return loss(*args)

    monkeypatch.setattr(trainer, "_loss", counted)
    with pytest.raises(KeyboardInterrupt):
        adapter_without(tiny_model(), RECIPE, 4, heads=HEADS)
    made[:] = [1] * 4  # no more interruptions
    found = adapter_without(tiny_model(), RECIPE, 4, heads=HEADS)
    assert len(made) == 6, "two steps were kept"
    monkeypatch.setattr(trainer, "_loss", loss)
    monkeypatch.setenv("ENTRACK_CACHE", str(held_adapters.cache_dir() / "anew"))
    straight = adapter_without(tiny_model(), RECIPE, 4, heads=HEADS)
    assert all(np.array_equal(found.weights[n], w) for n, w in straight.weights.items())


def test_the_weights_of_a_held_head_are_those_of_the_parent():
    """Rows of q, k and v, columns of o, in the model that comes of it: to the last bit."""
    parent = tiny_model()
    model = model_at(parent, RECIPE, adapter_without(parent, RECIPE, 4, heads=HEADS))
    for layer in range(5):
        before, after = (m.hf.model.layers[layer].self_attn for m in (parent, model))
        for head in range(4):
            rows = slice(head * D, (head + 1) * D)
            same = torch.equal(before.q_proj.weight[rows], after.q_proj.weight[rows])
            assert same == (Head(layer, head) in HEADS)
            same = torch.equal(before.o_proj.weight[:, rows], after.o_proj.weight[:, rows])
            assert same == (Head(layer, head) in HEADS)


def test_holding_after_each_step_tells_nothing_and_is_holding_at_each_validation(capsys):
    """A validation prints a row; one after every step does the same to the weights."""
    parent, told = tiny_model(), dataclasses.replace(RECIPE, validate_every=1)
    found = adapter_without(parent, RECIPE, 4, heads=HEADS).weights
    assert '"step"' not in capsys.readouterr().err

    def validate(model, tokenizer):
        held_adapters.hold(model, parent, HEADS)
        return {}

    data = items(RECIPE.data, 32, seed=RECIPE.seed)
    other, _ = trainer.fit(tiny_model().hf, parent.tokenizer, told, data, validate=validate)
    assert '"step"' in capsys.readouterr().err
    assert all(np.array_equal(found[name], w.half().numpy()) for name, w in other.items())


def test_neighbours_are_others_of_the_same_layers():
    own = {head for name in GROUPS for head in CIRCUIT.groups[name]}
    draws = [neighbours(CIRCUIT, n_heads=4, seed=seed) for seed in range(4)]
    for drawn in draws:
        assert not own & set(drawn)
        count = {layer: sum(h.layer == layer for h in own) for layer in range(5)}
        assert count == {layer: sum(h.layer == layer for h in drawn) for layer in range(5)}
    assert len(set(draws)) > 1


def test_every_training_is_asked_in_both_tasks():
    parent = tiny_model(more=("prints", *(label.lower() for label in LABELS)))
    asked = scenes(2, split="evaluation")
    told = encode_look_ups(parent.tokenizer, examples(3, split="evaluation"))
    found = train_held(parent, RECIPE, 2, circuit=CIRCUIT, n_random=2, scenes=asked, look_ups=told)
    names = [START, FREE, HELD, "neighbours held, draw 1", "neighbours held, draw 2"]
    assert list(found.held.items()) == list(zip(names, (0, 0, 7, 7, 7), strict=True))
    assert found.draws == names[3:]
    assert (found.boxes[START] == score_task(parent, asked).hits.ravel()).all()
    assert {len(found.boxes[n]) for n in names} == {14}
    assert {len(found.look_ups[n]) for n in names} == {3}


def made_up() -> HeldCourses:
    """Of 40 prompts so many right: before 10, free 30, circuit held 14, neighbours 24 and 28."""
    right = dict(zip((START, FREE, HELD, "a", "b"), (10, 30, 14, 24, 28), strict=True))
    hits = {name: np.arange(40) < n for name, n in right.items()}
    return HeldCourses(dict.fromkeys(right, 7), hits, hits, np.repeat(np.arange(10), 4))


@pytest.mark.parametrize("task", [BOXES, LOOK_UPS])
def test_a_training_helps_where_its_gain_is_clear(task):
    found = made_up()
    assert found.helps(task)
    hits = found.boxes | {FREE: np.roll(found.boxes[START], 1)}
    unclear = dataclasses.replace(found, boxes=hits, look_ups=hits)
    assert not unclear.helps(task)


@pytest.mark.parametrize("task", [BOXES, LOOK_UPS])
def test_gains_are_shares_of_prompts_and_of_the_free_gain(task):
    found = made_up()
    assert found.accuracy(FREE, task).value == pytest.approx(30 / 40)
    assert found.gain(HELD, task).value == pytest.approx(4 / 40)
    assert found.kept(HELD, task).value == pytest.approx(4 / 20)
    assert found.kept(FREE, task).value == pytest.approx(1)
    assert found.cost(task).value == pytest.approx((26 - 14) / 40)
    rows = look_up_tables.held(found).rows
    assert [row[0] for row in rows] == [START, FREE, HELD, "a", "b"]
    assert rows[0][3] == "-" and rows[2][3].value == pytest.approx(4 / 40)


def test_a_head_that_does_not_exist_is_refused():
    with pytest.raises(SiteError, match="no head 9.0 in tiny/gqa; it has 5 layers of 4 heads"):
        adapter_without(tiny_model(), RECIPE, 1, heads=[Head(9, 0)])

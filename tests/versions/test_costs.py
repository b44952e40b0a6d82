"""Formulas of costs against what is counted as the experiments run."""

import json

import pytest
import torch
from tiny_models import CIRCUIT, HEADS, tiny_model
from tokenizers_for_tests import make_tokenizer
from torch.utils.flop_counter import FlopCounterMode

from entrack.book.chapters import glued, project
from entrack.circuit.ablation import score_circuits
from entrack.model.activations import clean_run, mean_z
from entrack.patching.accuracy import score_task
from entrack.patching.attention_knockout import knock_out
from entrack.patching.path_patching import path_patching
from entrack.patching.residual_patching import patch_residual
from entrack.sites import GROUPS
from entrack.task.desiderata import build
from entrack.task.draws import examples, scenes
from entrack.task.prompts import encode
from entrack.versions import costs
from entrack.versions.chapter_costs import CHAPTERS, operations
from entrack.versions.needs import parameters

pytestmark = pytest.mark.usefixtures("own_cache")
NEAR = 0.03
"""What formulas leave out: products of a scalar, rounding of mean lengths."""


@pytest.fixture(scope="module", params=["gqa", "mha", "mqa"])
def counted_model(request):
    """With attention as plain products, which are counted; torch's own on a CPU is not."""
    made = tiny_model(request.param)
    made.hf.set_attn_implementation("eager")
    return made


@pytest.fixture(scope="module")
def prompts(counted_model):
    return encode(counted_model.tokenizer, examples(14, split="evaluation"))


@pytest.fixture(scope="module")
def text(counted_model):
    return costs.Text.of(encode(counted_model.tokenizer, examples(14, split="evaluation")))


@pytest.fixture(scope="module")
def shape(counted_model):
    return costs.Shape.of(counted_model.config)


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_the_weights_of_the_layers_are_those_of_the_model(counted_model):
    shape = costs.Shape.of(counted_model.config)
    layers = sum(p.numel() for p in counted_model.layers.blocks.parameters() if p.ndim == 2)
    assert shape.n_layers * shape.layer == layers
    embedding = counted_model.hf.get_input_embeddings().weight.numel()
    norms = (2 * shape.n_layers + 1) * shape.d_model
    assert parameters(counted_model.config) == layers + embedding + norms
    assert shape.answer == 2 * embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_a_run(counted_model, prompts, shape, dtype):
    run = clean_run(counted_model, prompts)
    kept = (run.resid, run.keys, run.values, run.z)
    held = sum(x.to(dtype).numel() * dtype.itemsize for x in kept)
    assert shape.run_bytes(run.length, dtype.itemsize) * len(prompts) == held


def test_a_pass(counted_model, prompts, text):
    found = counted(lambda: clean_run(counted_model, prompts)) / len(prompts)
    assert costs.whole(costs.Shape.of(counted_model.config), text) == pytest.approx(found, rel=NEAR)


@pytest.mark.parametrize("name", GROUPS)
def test_each_stage_of_path_patching(counted_model, pair_prompts, shape, name):
    group = GROUPS[name]
    clean, corrupt = pair_prompts
    heads = () if group.receivers is None else HEADS[group.receivers]
    found = counted(
        lambda: path_patching(
            counted_model,
            clean,
            corrupt=corrupt,
            role=group.role,
            receivers=heads,
            via=group.composition,
        )
    )
    layers = {group: [head.layer for head in heads] for group, heads in HEADS.items()}
    expected = costs.stages(shape, costs.Text.of(clean), layers)[name]
    assert expected == pytest.approx(found / len(clean), rel=NEAR)


@pytest.mark.parametrize("n", [1, 4])
def test_circuits_alone(counted_model, prompts, shape, text, n):
    means = mean_z(counted_model, prompts)
    found = counted(
        lambda: score_circuits(counted_model, prompts, circuits=[CIRCUIT] * n, means=means)
    )
    expected = costs.ablated(shape, text, circuits=n)
    assert expected == pytest.approx(found / len(prompts), rel=NEAR)


@pytest.mark.parametrize("role", ["last", "query_label"])
def test_residual_streams_at_every_layer(counted_model, shape, role):
    made = build("position", 14, split="evaluation")
    text = costs.Text.of(encode(counted_model.tokenizer, [item.base for item in made]))
    found = counted(lambda: patch_residual(counted_model, made, roles=[role])) / len(made)
    expected = 2 * (costs.whole(shape, text) + shape.answer)
    expected += costs.streams(shape, text, role=role)
    assert expected == pytest.approx(found, rel=NEAR)


def test_questions_of_a_scene(counted_model, shape, text):
    drawn = scenes(3, split="evaluation")
    found = counted(lambda: score_task(counted_model, drawn)) / len(drawn)
    assert costs.scene(shape, text) == pytest.approx(found, rel=NEAR)


def test_blocked_attention(counted_model, shape, prompts, text):
    edge = ("query_label", "prev_query_label")
    layers = tuple(range(counted_model.n_layers + 1))
    found = counted(lambda: knock_out(counted_model, prompts, edges=[edge], layers=layers))
    expected = costs.whole(shape, text) + shape.answer
    expected += costs.streams(shape, text, role="query_label")
    assert expected == pytest.approx(found / len(prompts), rel=NEAR)


def test_a_longer_suffix_and_more_layers_cost_more(shape, text):
    near = costs.path_patched(shape, text, role="query_label", layers=[3])
    far = costs.path_patched(shape, text, role="prev_query_label", layers=[3])
    assert costs.path_patched(shape, text, role="last", layers=[3]) < near < far


# -- whole chapters
# --------------------------------------------------------------------------------------------------

SMOLLM2 = costs.Shape(30, 9 * 64, 9, 3, 64, 1536, 49152)


@pytest.fixture(scope="module")
def by_chapter():
    """Chapter -> operations on the default family, with today's parameters."""
    text = costs.Text.of(encode(make_tokenizer(), examples(14, split="evaluation")))
    found = {}
    for chapter in project().chapters():
        values = {p.name: p.default for p in chapter.parameters}
        if "family" in values:
            numbers = {name: value for name, value in values.items() if isinstance(value, int)}
            found[chapter.name] = operations(chapter.name[:2], numbers, shape=SMOLLM2, text=text)
    return found, costs.whole(SMOLLM2, text)


def test_every_chapter_that_takes_a_family_has_its_cost(by_chapter):
    assert [name[:2] for name in by_chapter[0]] == list(CHAPTERS)


def test_the_published_chapters_took_time_as_their_operations_say(by_chapter):
    recorded = json.loads((project().notebooks / "status.json").read_text())
    took = [
        by_chapter[0][name] / record["seconds_from_nothing"]
        for name, record in recorded.items()
        # A chapter that reads a record runs no model, and takes no operations.
        if by_chapter[0].get(name) and record["device"] == "cpu"
    ]
    if len(took) < 3:
        pytest.skip("the published chapters were not executed on a CPU")
    typical = sorted(took)[len(took) // 2]
    # Chapters that were executed beside other work took longer than alone.
    assert all(0.4 < rate / typical < 2.5 for rate in took)


def test_the_appendix_shows_the_costs_of_todays_parameters(by_chapter):
    found, one = by_chapter
    page = project().find("A1")
    shown = glued(page.read(page.notebook))["passes_135m"]
    assert shown == pytest.approx(sum(found.values()) / one, rel=0.01)

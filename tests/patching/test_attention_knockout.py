"""Blocked attention against a literal twin, under every attention implementation."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from tokenizers_for_tests import make_tokenizer
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask
from transformers.models.llama import modeling_llama

from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.activations import clean_run
from entrack.patching.attention_knockout import (
    EDGES,
    RANDOM,
    Knockouts,
    _goal,
    blocked_resid,
    knock_out,
)
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def questions():
    return encode(
        make_tokenizer(), all_queries(scenes(3, split="evaluation"), format="alternative")
    )


def literal(model, prompts, *, reader, goal, layer, monkeypatch):
    """Whole passes, one prompt at a time, in which the attention function itself is replaced by one
    that blocks.
    """

    def attention(module, query, key, value, mask, scaling, dropout=0.0, **_):
        key, value = (x.repeat_interleave(module.num_key_value_groups, dim=1) for x in (key, value))
        scores = query @ key.transpose(-1, -2) * scaling
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
        if module.layer_idx >= layer:
            scores[:, :, state["reader"], state["goal"]] = float("-inf")
        return (scores.softmax(-1) @ value).transpose(1, 2).contiguous(), None

    state, found = {}, []
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(
            modeling_llama.ALL_ATTENTION_FUNCTIONS, "get_interface", lambda name, default: attention
        )
        for i in range(len(prompts)):
            state.update(reader=int(reader[i]), goal=goal[i].reshape(-1))
            tokens = prompts.tokens[i : i + 1, : int(prompts.lengths[i])]
            found.append(model.hf(tokens).logits[0, -1])
    return torch.stack(found)


@pytest.mark.parametrize("edge", EDGES)
def test_blocking_equals_the_literal_twin(any_model, questions, edge, monkeypatch):
    run, goal = clean_run(any_model, questions), _goal(questions, edge, 0)
    reader = questions.at(edge[0])
    clean = any_model.hf.lm_head(any_model.hf.model.norm(run.resid_at("last")[-1]))
    for layer in (0, 2):
        final = blocked_resid(any_model, run, reader=reader, goal=goal, layer=layer)
        found = any_model.hf.lm_head(any_model.hf.model.norm(final))
        expected = literal(
            any_model, questions, reader=reader, goal=goal, layer=layer, monkeypatch=monkeypatch
        )
        assert_close(
            found,
            expected,
            terms=additions(any_model, questions.tokens.shape[1]),
            unlike=clean,
        )


def test_an_empty_knock_out_is_the_plain_run(any_model, questions):
    run = clean_run(any_model, questions)
    final = blocked_resid(
        any_model,
        run,
        reader=questions.at("last"),
        goal=questions.at("query_label"),
        layer=any_model.n_layers,
    )
    with torch.no_grad():
        logits = any_model.hf(questions.tokens).logits[
            torch.arange(len(questions)), questions.at("last")
        ]
    assert_close(
        any_model.hf.lm_head(any_model.hf.model.norm(final)),
        logits,
        terms=additions(any_model, questions.tokens.shape[1]),
    )
    found = knock_out(any_model, questions, edges=EDGES[:2], layers=[2, any_model.n_layers])
    for edge in EDGES[:2]:
        assert np.array_equal(found.hits[edge][1], found.plain)


@pytest.fixture(scope="module", autouse=True)
def without_masks():
    """Stands for flash attention: a function that is given no mask and would ignore one."""

    def attend(module, query, key, value, mask, **options):
        return modeling_llama.ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, None, is_causal=True, **options
        )

    AttentionInterface.register("without_masks", attend)
    AttentionMaskInterface.register("without_masks", flash_attention_mask)


@contextmanager
def implementation(model, name):
    own = model.hf.config._attn_implementation
    model.hf.set_attn_implementation(name)
    try:
        yield
        assert model.hf.config._attn_implementation == name
    finally:
        model.hf.set_attn_implementation(own)


@pytest.mark.parametrize("name", ["eager", "sdpa", "without_masks"])
def test_every_attention_implementation_gives_the_same(model, questions, name):
    run, goal = clean_run(model, questions), questions.at("query_label")
    expected = blocked_resid(model, run, reader=questions.at("last"), goal=goal, layer=1)
    with implementation(model, name):
        found = blocked_resid(model, run, reader=questions.at("last"), goal=goal, layer=1)
    assert_close(
        found,
        expected,
        terms=additions(model, questions.tokens.shape[1]),
        unlike=run.resid_at("last")[-1],
    )


def test_an_implementation_is_put_back_after_an_error(model, questions, monkeypatch):
    run = clean_run(model, questions)
    monkeypatch.setattr("entrack.model.layers.AttentionInputs.scores", lambda *a, **k: 1 / 0)
    with implementation(model, "without_masks"), pytest.raises(ZeroDivisionError):
        blocked_resid(
            model, run, reader=questions.at("last"), goal=questions.at("query_label"), layer=1
        )


def test_random_goals_avoid_every_role_and_repeat(questions):
    goal = _goal(questions, ("last", RANDOM), 0)
    for role in ("last", "query_label", "prev_query_label", "correct_object"):
        assert (goal != questions.at(role)).all()
    assert (goal < questions.at("query_label")).all() and len(goal.unique()) > 10
    assert torch.equal(goal, _goal(questions, ("last", RANDOM), 0))
    assert not torch.equal(goal, _goal(questions, ("last", RANDOM), 1))


def test_prompts_of_different_length_are_blocked_at_their_own_places(model, monkeypatch):
    mixed = encode(
        model.tokenizer,
        [
            e
            for n in (3, 5)
            for e in all_queries(scenes(1, split="evaluation", n_boxes=n), format="alternative")
        ],
    )
    run, goal = clean_run(model, mixed), mixed.at("prev_query_label")
    final = blocked_resid(model, run, reader=mixed.at("query_label"), goal=goal, layer=1)
    expected = literal(
        model, mixed, reader=mixed.at("query_label"), goal=goal, layer=1, monkeypatch=monkeypatch
    )
    assert_close(
        model.hf.lm_head(model.hf.model.norm(final)),
        expected,
        terms=additions(model, mixed.tokens.shape[1]),
        unlike=model.hf.lm_head(model.hf.model.norm(run.resid_at("last")[-1])),
    )


def test_half_way_is_read_off_the_curve():
    def made(curve, n=200):
        hits = np.stack([np.arange(n) < share * n for share in curve])
        return Knockouts({("a", "b"): hits}, hits[-1], (0, 2, 4, 6), 6, np.arange(n), "m")

    assert made([0.0, 0.2, 0.6, 0.8]).half_way(("a", "b")) == pytest.approx(
        3 / 6
    )  # 0.4 lies midway between layers 2 and 4
    assert made([0.8, 0.8, 0.8, 0.8]).half_way(("a", "b")) is None
    assert made([0.0, 0.8, 0.8, 0.8]).loss(("a", "b"), 0).value == pytest.approx(-0.8)
    assert [round(e.value, 2) for e in made([0.0, 0.2, 0.6, 0.8]).accuracy(("a", "b"))] == [
        0.0,
        0.2,
        0.6,
        0.8,
    ]


def test_bad_requests_are_refused(model, questions):
    with pytest.raises(AlignmentError, match="unknown role 'first'"):
        knock_out(model, questions, edges=[("first", "last")])
    with pytest.raises(
        AlignmentError, match="'last' does not come before 'query_label', which so cannot read it"
    ):
        knock_out(model, questions, edges=[("query_label", "last")])
    with pytest.raises(
        SiteError,
        match=r"first blocked layers \[0, 9\]; tiny/gqa has layers 0 to 4, and 5 blocks none",
    ):
        knock_out(model, questions, layers=[0, 9])
    with pytest.raises(ConfigError, match="nothing to knock out"):
        knock_out(model, questions, edges=[])


def planted(*depths, n_scenes=6):
    """Answers of four questions a scene; each edge is needed up to a layer that varies by scene."""
    scenes = np.repeat(np.arange(n_scenes), 4)
    layers = np.arange(0, 11)
    hits = {
        edge: layers[:, None] >= (depth + scenes % 2)[None]
        for edge, depth in zip(EDGES, depths, strict=False)
    }
    return Knockouts(hits, np.ones(4 * n_scenes, bool), tuple(layers.tolist()), 10, scenes, "m")


def test_needed_edges_come_lowest_first_and_steps_have_intervals():
    found = planted(7, 2, 0)
    assert [edge for edge, _ in found.needed()] == [EDGES[1], EDGES[0]], "the third costs half"
    step = found.step(EDGES[1], EDGES[0])
    assert step.value == pytest.approx(found.half_way(EDGES[0]) - found.half_way(EDGES[1]))
    assert step.low <= step.value <= step.high and step.low > 0
    back = found.step(EDGES[0], EDGES[1])
    assert (back.value, back.low) == (-step.value, -step.high)


def test_a_step_from_a_reading_that_costs_nothing_is_unknown():
    found = planted(7, 0)
    free = Knockouts(
        {**found.hits, EDGES[1]: np.ones_like(found.hits[EDGES[0]])},
        found.plain,
        found.layers,
        found.n_layers,
        found.scenes,
        "m",
    )
    step = free.step(EDGES[1], EDGES[0])
    assert (step.low, step.value, step.high) == (-1, 0, 1)


def test_two_tokens_that_stand_in_for_each_other_cost_more_than_their_sum():
    plain = np.arange(40) < 32
    parts = {("b", "a"): np.arange(40) < 28, ("b", "c"): np.arange(40) < 30}
    hits = {edge: row[None] for edge, row in parts.items()} | {
        ("b", "a+c"): np.zeros((1, 40), bool)
    }
    found = Knockouts(hits, plain, (0,), 4, np.arange(40), "tiny")
    excess = found.beyond_sum(("b", "a+c"), *parts)
    assert excess.value == pytest.approx(-0.8 + 0.1 + 0.05) and excess.high < 0

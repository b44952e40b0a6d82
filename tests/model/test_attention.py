"""Patterns from a clean run against Hugging Face's eager attention."""

import copy

import pytest
import torch
from closeness import additions, assert_close

from entrack.errors import AlignmentError, SiteError
from entrack.model.attention import patterns
from entrack.sites import Head
from entrack.task.draws import examples
from entrack.task.prompts import encode


@pytest.fixture
def eager(any_model):
    """The weights that eager attention gives out [layer example head pos pos], from a copy: they
    leave hooks behind.
    """
    hf = copy.deepcopy(any_model.hf)
    hf.set_attn_implementation("eager")

    def attentions(prompts):
        with torch.no_grad():
            return torch.stack(hf(prompts.tokens, output_attentions=True).attentions)

    return attentions


def every_head(model):
    return [Head(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label", "correct_object"])
def test_patterns_equal_eager_attention(any_model, prompts, eager, role):
    found = patterns(any_model, prompts, every_head(any_model), role=role)
    rows = torch.arange(len(prompts))
    expected = eager(prompts)[:, rows, :, prompts.at(role)]  # [example layer head pos]
    # The pattern that looks one token back instead is another, so that a wrong query shows.
    before = eager(prompts)[:, rows, :, prompts.at(role) - 1]
    assert_close(
        found.weights,
        expected.flatten(1, 2),
        terms=additions(any_model, prompts.tokens.shape[1]),
        unlike=before.flatten(1, 2),
    )


def test_prompts_of_different_length(any_model, eager):
    mixed = encode(
        any_model.tokenizer,
        [*examples(3, split="evaluation", n_boxes=3), *examples(3, split="evaluation", n_boxes=7)],
    )
    found = patterns(any_model, mixed, [Head(2, 3), Head(0, 1)], role="last")
    expected = eager(mixed)[[2, 0], :, [3, 1]].transpose(0, 1)[torch.arange(6), :, mixed.at("last")]
    assert_close(
        found.weights,
        expected,
        terms=additions(any_model, mixed.tokens.shape[1]),
        unlike=expected.flip(1),
    )
    assert not found.weights[0, :, mixed.lengths[0] :].any(), "padding is never looked at"


def test_weights_sum_to_one_and_look_only_back(model, prompts):
    found = patterns(model, prompts, every_head(model), role="query_label")
    sums = found.weights.sum(-1)
    assert_close(sums, torch.ones(len(prompts), 20), terms=found.weights.shape[-1])
    after = torch.arange(found.weights.shape[2]) > prompts.at("query_label")[:, None]
    assert not found.weights.transpose(1, 2)[after].any()


def test_heads_come_in_the_order_asked_for(model, prompts):
    both = patterns(model, prompts, [Head(3, 1), Head(1, 2)], role="last")
    one = patterns(model, prompts, [Head(1, 2)], role="last")
    assert both.heads == (Head(3, 1), Head(1, 2))
    # Exactly: the same head of the same pass.
    assert torch.equal(both.weights[:, 1], one.weights[:, 0])
    assert not torch.equal(both.weights[:, 0], one.weights[:, 0])


def test_weight_on_a_role_and_on_every_box(model, prompts):
    found = patterns(model, prompts, every_head(model), role="last")
    for example, item in enumerate(prompts.examples):
        place = int(prompts.at("correct_object")[example])
        assert torch.equal(found.on("correct_object")[example], found.weights[example, :, place])
        assert torch.equal(
            found.by_box("object")[example, :, item.query], found.weights[example, :, place]
        )
        assert prompts.pieces[example][place].strip() == item.answer
    assert torch.equal(
        found.by_box("label").gather(
            2, torch.tensor([e.query for e in prompts.examples])[:, None, None].expand(-1, 20, 1)
        )[..., 0],
        found.on("prev_query_label"),
    )


def test_nothing_is_seen_after_the_query(model, prompts):
    found = patterns(model, prompts, [Head(1, 1)], role="correct_object")
    assert not found.on("last").any() and not found.on("prev_query_label").any()
    assert found.on("correct_object").all(), "a token sees itself"


def test_refusals(model, prompts):
    with pytest.raises(SiteError, match=r"no head 9\.0; this model has 5 layers of 4 heads"):
        patterns(model, prompts, [Head(9, 0)], role="last")
    with pytest.raises(AlignmentError, match="unknown role 'end'"):
        patterns(model, prompts, [Head(0, 0)], role="end")
    with pytest.raises(
        AlignmentError,
        match="no 'verb' of each box in these prompts; allowed are 'object' and 'label'",
    ):
        patterns(model, prompts, [Head(0, 0)], role="last").by_box("verb")
    mixed = encode(
        model.tokenizer,
        [*examples(1, split="evaluation", n_boxes=3), *examples(1, split="evaluation")],
    )
    with pytest.raises(AlignmentError, match="the same number of boxes"):
        patterns(model, mixed, [Head(0, 0)], role="last").by_box("object")

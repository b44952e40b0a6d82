"""What a head writes about the objects, against a pass that leaves it out of the last residual
stream, and in a model where it is known by construction."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from tiny_models import tiny_model

from entrack.errors import TaskError
from entrack.heads.writes import Writes, writes
from entrack.model.hooks import Trace
from entrack.sites import Head
from entrack.task.draws import examples
from entrack.task.prompts import encode


def test_it_is_what_goes_when_the_output_is_taken_out():
    model, head = tiny_model(), Head(2, 1)
    prompts = encode(model.tokenizer, examples(5, split="evaluation"))
    found = writes(model, prompts, heads=[head])[head]
    rows, last = torch.arange(5), prompts.at("last")
    norm = model.layers.path("final norm")
    with (
        torch.no_grad(),
        Trace(model.hf, norm, retain_input=True) as final,
        Trace(model.hf, model.site(head.layer, "o_proj"), retain_input=True) as given,
    ):
        logits = model.hf(prompts.tokens).logits[rows, last]
        z = given.input[rows, last].unflatten(-1, (model.n_heads, model.d_head))
        weight = model.layers.blocks[head.layer].self_attn.o_proj.weight
        columns = weight.unflatten(1, (model.n_heads, model.d_head))[:, head.head]
        left = final.input[rows, last] - z[:, head.head] @ columns.T
        without = model.layers.logits(left)
    for i, example in enumerate(prompts.examples):
        for slot, token in enumerate(prompts.tokens[i, prompts.segments["object"][i]]):
            expected = float(logits[i, token] - without[i, token])
            size = float(logits[i].abs().max())
            terms = additions(model, prompts.tokens.shape[1])
            assert_close(found.logits[i, slot], np.float32(expected), terms=terms, magnitude=size)
        assert found.right[i] == example.query


def test_planted_fetchers_lift_the_right_object_and_others_do_not():
    model = planted_model("better", VERSIONS["better"])
    prompts = encode(model.tokenizer, examples(28, split="evaluation"))
    fetchers = PLANTED_CIRCUIT.groups["value_fetcher"]
    idle = [Head(4, 2), Head(5, 0)]
    found = writes(model, prompts, heads=[*fetchers, *idle])
    least = min(found[head].lead.low for head in fetchers)
    assert least > 0
    assert all(abs(found[head].lead.value) < least / 5 for head in idle)


def test_a_head_that_speaks_against_the_right_object_is_negative():
    logits = np.array([[-2.0, 0.5, 0.5], [0.2, -1.0, 0.4]])
    found = Writes(Head(1, 0), logits, np.array([0, 1]))
    assert found.of_right.value == pytest.approx(-1.5)
    assert found.of_others.value == pytest.approx(0.4)
    assert found.lead.value == pytest.approx(-1.9)


def test_prompts_of_several_sizes_are_refused():
    model = tiny_model()
    mixed = [*examples(2, split="evaluation", n_boxes=3), *examples(2, split="evaluation")]
    with pytest.raises(TaskError, match="different numbers of boxes; .* Use prompts with one"):
        writes(model, encode(model.tokenizer, mixed), heads=[Head(0, 0)])

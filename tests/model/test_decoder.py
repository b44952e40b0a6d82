"""A model's shape, its weights read once, and the proof that hooks see it."""

import dataclasses

import pytest
from tiny_models import tiny_model

from entrack.errors import ModelError
from entrack.model.layers import Layers


def test_the_check_passes_for_every_kind_of_attention(any_model):
    any_model.self_check()


def test_the_check_refuses_a_config_that_does_not_describe_the_weights():
    model = tiny_model("gqa", n_layers=2)
    model.hf.config.num_key_value_heads = 4
    with pytest.raises(
        ModelError,
        match=(
            r"the layers of tiny/gqa have heads and widths \{'q': \(4, 8\), 'k': \(2, 8\)\}, not"
            r" \{'q': \(4, 8\), 'k': \(4, 8\)\}; its config"
        ),
    ):
        model.self_check()


def test_the_check_refuses_a_model_that_looks_ahead(monkeypatch):
    model = tiny_model("gqa", n_layers=2)
    own = model.hf.forward

    def everywhere(tokens):
        out = own(tokens)
        return dataclasses.replace(out, logits=out.logits + out.logits.mean(1, keepdim=True))

    monkeypatch.setattr(model.hf, "forward", everywhere)
    monkeypatch.setattr(Layers, "check", lambda view: None)  # it would be first to see this
    with pytest.raises(
        ModelError,
        match=(
            "changing a head of tiny/gqa at position 4 moved the logits by .*; only that"
            " position and later"
        ),
    ):
        model.self_check()


def test_the_check_refuses_a_model_whose_heads_reach_nothing():
    model = tiny_model("gqa", n_layers=2)
    model.layers.blocks[1].self_attn.o_proj.weight.data.zero_()
    with pytest.raises(
        ModelError, match="moved the logits by .*only that position and later ones may move"
    ):
        model.self_check()

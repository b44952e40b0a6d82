"""Tiny Llamas with random weights, built in a second, that the tests share."""

import pytest
import torch
from tokenizers_for_tests import make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from entrack.boxes import examples, pairs
from entrack.models import Model
from entrack.prompts import encode, encode_pairs

KV_HEADS = {"mha": 4, "gqa": 2, "mqa": 1}


def tiny_model(kind: str = "gqa", *, n_layers: int = 5, seed: int = 0) -> Model:
    """A random Llama of `n_layers` with 4 heads of 8 dimensions; large heads, so that effects are large."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=n_layers,
        num_attention_heads=4, num_key_value_heads=KV_HEADS[kind], head_dim=8, max_position_embeddings=256,
        initializer_range=0.35, tie_word_embeddings=True,
    )
    hf = LlamaForCausalLM(config).eval().requires_grad_(False)
    for layer in hf.model.layers:
        layer.self_attn.o_proj.weight.mul_(4)
        layer.mlp.down_proj.weight.mul_(0.25)
    return Model.of(hf, tokenizer, name=f"tiny/{kind}", digest=f"tiny-{kind}-{n_layers}-{seed}", family="tiny", version=kind)


@pytest.fixture(scope="session", params=list(KV_HEADS))
def any_model(request):
    """The same tiny model with multi-head, grouped-query and multi-query attention."""
    return tiny_model(request.param)


@pytest.fixture(scope="session")
def model():
    """The grouped-query one."""
    return tiny_model("gqa")


@pytest.fixture(scope="session")
def prompts(model):
    """14 prompts of 7 boxes, every position queried twice."""
    return encode(model.tokenizer, examples(14, split="evaluation"))


@pytest.fixture(scope="session")
def pair_prompts(model):
    """14 clean and corrupt prompts."""
    return encode_pairs(model.tokenizer, pairs(14, split="discovery"))


@pytest.fixture(autouse=True)
def _models_left_as_they_were(request):
    """After every test the shared models carry no hooks, are in eval mode and need no gradients."""
    yield
    for name in ("model", "any_model"):
        if name in request.fixturenames:
            hf = request.getfixturevalue(name).hf
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())
            assert not hf.training and not any(p.requires_grad for p in hf.parameters())
            assert next(hf.parameters()).dtype == torch.float32

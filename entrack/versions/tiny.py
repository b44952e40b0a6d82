"""A model with random weights and its prompts: what exercises run on, made in a second."""

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from entrack.errors import ConfigError
from entrack.model.decoder import Model
from entrack.store.digests import digest

VOCABULARY = 64


def tiny_model(*, n_layers: int = 3, seed: int = 0) -> Model:
    """A Llama of random weights: 40 dimensions, 4 heads of 8, 2 key-value heads, 64 tokens.

    It knows nothing and has no tokenizer; its attention outputs are made large, so that a patch of
    one head moves the logits visibly. The same seed gives the same weights, and the generator of
    the caller is left as it was. Milliseconds.

    Args:
        n_layers: 1 or more.
        seed: of the weights.

    Raises:
        ConfigError: fewer than one layer.
    """
    if n_layers < 1:
        raise ConfigError(f"a model of {n_layers} layers; 1 or more are needed. Ask for more.")
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=40,
        intermediate_size=64,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.35,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = LlamaForCausalLM(config).eval().requires_grad_(False)
    for layer in hf.model.layers:
        layer.self_attn.o_proj.weight.mul_(4)
    name = f"tiny/{n_layers}-{seed}"
    return Model.of(hf, None, name=name, digest=digest(name), family="tiny")


def tiny_tokens(n: int, length: int, *, seed: int) -> Tensor:
    """`n` random prompts of `length` tokens each, no two tokens of one prompt alike
    [example pos].

    Raises ConfigError for prompts longer than the vocabulary."""
    if length > VOCABULARY:
        raise ConfigError(
            f"prompts of {length} different tokens; there are {VOCABULARY}. Ask for shorter ones."
        )
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(VOCABULARY, generator=generator)[:length] for _ in range(n)])

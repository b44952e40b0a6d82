"""Tiny Llamas with random weights, built in a second, that the tests share, and their circuit."""

import torch
from tokenizers_for_tests import make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from entrack.circuits import Circuit
from entrack.model.decoder import Model
from entrack.sites import Head

KV_HEADS = {"mha": 4, "gqa": 2, "mqa": 1}


def tiny_model(
    kind: str = "gqa", *, n_layers: int = 5, seed: int = 0, more: tuple[str, ...] = ()
) -> Model:
    """A random Llama of `n_layers` with 4 heads of 8 dimensions; large heads, so that effects are
    large. Its tokenizer knows `more` words.
    """
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(more=more)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=KV_HEADS[kind],
        head_dim=8,
        max_position_embeddings=256,
        initializer_range=0.35,
        tie_word_embeddings=True,
    )
    hf = LlamaForCausalLM(config).eval().requires_grad_(False)
    for layer in hf.model.layers:
        layer.self_attn.o_proj.weight.mul_(4)
        layer.mlp.down_proj.weight.mul_(0.25)
    return Model.of(
        hf,
        tokenizer,
        name=f"tiny/{kind}",
        digest=f"tiny-{kind}-{n_layers}-{seed}" + "".join(more),
        family="tiny",
        version=kind,
    )


def fine_tuned(kind="gqa", *, seed=1, size=0.3, n_layers=5, weights=0):
    """The tiny model of seed `weights` with a change of rank one in every q, k, v and o, as a LoRA
    makes it.
    """
    model = tiny_model(kind, n_layers=n_layers, seed=weights)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.layers.blocks:
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            weight = getattr(layer.self_attn, name).weight
            weight.add_(
                size * torch.outer(*(torch.randn(n, generator=generator) for n in weight.shape))
            )
    object.__setattr__(model, "digest", f"{model.digest}-tuned-{seed}")
    return model


def last_logits(model, prompts):
    """Logits at the last token in one whole pass [example token]: what log probabilities, and so
    their differences, are made from.
    """
    with torch.no_grad():
        logits = model.hf(prompts.tokens.to(model.device)).logits
    return logits[torch.arange(len(prompts)), prompts.at("last")]


HEADS = {
    "value_fetcher": (Head(3, 1), Head(4, 2)),
    "position_transmitter": (Head(2, 0), Head(3, 3)),
    "position_detector": (Head(1, 1), Head(1, 2)),
    "structure_reader": (Head(0, 3),),
}
CIRCUIT = Circuit(HEADS, "tiny")

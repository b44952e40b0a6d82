"""Tiny random models of every architecture that the package is proved on, and some it refuses.

Biases and norms are random too, so that one that is left out shows; windows are shorter than the
prompts; rotary embeddings, caps and multipliers differ from their defaults."""

import torch
from tokenizers_for_tests import make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from entrack.model.decoder import Model

WINDOW = {"sliding_window": 5}
SOME_WINDOWS = {**WINDOW, "use_sliding_window": True, "max_window_layers": 2}
OWN_SCALE = {"head_dim": 16, "query_pre_attn_scalar": 20}

PROVED = {
    "llama": {},
    "mistral": WINDOW,
    "qwen2": SOME_WINDOWS,
    "qwen3": {**SOME_WINDOWS, "head_dim": 16},
    "smollm3": {**WINDOW, "use_sliding_window": True},
    "olmo2": {},
    "olmo3": WINDOW,
    "gemma2": {**WINDOW, **OWN_SCALE, "attn_logit_softcapping": 2.0},
    "gemma3_text": {**WINDOW, **OWN_SCALE, "_sliding_window_pattern": 2},
    "granite": {
        "residual_multiplier": 0.6,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
        "attention_multiplier": 0.2,
    },
    "phi3": {**WINDOW, "partial_rotary_factor": 0.5},
    "gpt_neox": {"rotary_pct": 0.5},
    "gpt2": {},
    "phi": {"partial_rotary_factor": 0.5, "qk_layernorm": True},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}
REFUSED = {
    "gpt_oss": (
        {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8},
        r"takes s_aux \(attention sinks\)",
    ),
    "bloom": ({}, "missing 1 required positional argument: 'alibi'"),
    "gptj": ({"rotary_dim": 4}, "its layer 0 asks for attention 0 times, not once"),
    "opt": (
        {"ffn_dim": 48, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
        "its OPTDecoder has no final norm",
    ),
    "gpt_neo": ({"attention_types": [[["global", "local"], 2]]}, "GPTNeoAttention has no o_proj"),
}
FUSED = ("phi3", "gpt_neox", "gpt2")
MULTI_HEAD = ("gpt_neox", "gpt2", "opt")


def tiny_decoder(kind: str, settings: dict | None = None, *, seed: int = 0) -> Model:
    """A random model of `kind`: 4 layers of 4 heads, two kv-heads where it has fewer of them."""
    tokenizer = make_tokenizer()
    grouped = {} if kind in MULTI_HEAD else {"num_key_value_heads": 2}
    config = AutoConfig.for_model(
        kind,
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,
            "pad_token_id": None,
            "bos_token_id": None,
            "eos_token_id": None,
            **grouped,
            **(PROVED[kind] if settings is None else settings),
        },
    )
    torch.manual_seed(seed)
    hf = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, parameter in hf.named_parameters():
        if parameter.ndim == 1:
            around_zero = name.endswith("bias") or kind.startswith("gemma")
            parameter.uniform_(-0.3, 0.3).add_(0 if around_zero else 1)
    return Model.of(hf, tokenizer, name=f"tiny/{kind}", digest=f"{kind}-{seed}")

"""Path patching as the paper's algorithm reads: two whole passes per sender, every step by a hook.

Slow on purpose. It shares no computation with `entrack.patching.path_patching`: every head is
frozen by a hook at every position from the sender's on, and the receivers are overwritten by a hook
in a second pass."""

import numpy as np
import torch

from entrack.model.hooks import Trace, TraceDict


def _site(layer, projection):
    return f"model.layers.{layer}.self_attn.{projection}"


def _heads(tensor, model):
    return tensor.unflatten(-1, (-1, model.d_head))


@torch.no_grad()
def _z(model, tokens):
    names = [_site(layer, "o_proj") for layer in range(model.n_layers)]
    with TraceDict(model.hf, names, retain_input=True, retain_output=False) as traces:
        model.hf(tokens)
    return [_heads(traces[name].input, model) for name in names]


@torch.no_grad()
def _log_prob(model, tokens, prompts):
    rows = torch.arange(len(prompts))
    # One position through the unembedding, as any careful plain implementation does.
    last = model.hf.model(tokens).last_hidden_state[rows, prompts.at("last")]
    return model.hf.lm_head(last).float().log_softmax(-1)[rows, prompts.answers]


def prepare(model, clean, corrupt):
    """Step 1, the same for every sender: z of both runs, and the clean answer's log probability."""
    return _z(model, clean.tokens), _z(model, corrupt.tokens), _log_prob(model, clean.tokens, clean)


@torch.no_grad()
def literal_effect(
    model,
    clean,
    corrupt,
    *,
    sender,
    role,
    receivers=(),
    via="logits",
    prepared=None,
):
    """Relative change of the answer's probability [example] for one sender head (layer, head)."""
    layer, head = sender
    clean_z, corrupt_z, unpatched = prepared or prepare(model, clean, corrupt)
    rows, where = torch.arange(len(clean)), clean.at(role)
    later = torch.arange(clean.tokens.shape[1])[None] >= where[:, None]  # [example pos]

    def freeze(at_layer):
        def edit(z):
            split = torch.where(later[..., None, None], clean_z[at_layer], _heads(z, model)).clone()
            if at_layer == layer:
                split[rows, where, head] = corrupt_z[layer][rows, corrupt.at(role), head]
            return split.flatten(-2)

        return edit

    names = {_site(at, f"{via}_proj") for at, _ in receivers} if receivers else set()
    freezing = [
        Trace(model.hf, _site(at, "o_proj"), edit_input=freeze(at)) for at in range(model.n_layers)
    ]
    reading = TraceDict(model.hf, sorted(names)) if names else None
    for trace in freezing:
        trace.__enter__()
    try:
        if reading is None:
            patched = _log_prob(model, clean.tokens, clean)
        else:
            with reading:
                model.hf(clean.tokens)
    finally:
        for trace in freezing:
            trace.close()
    if reading is not None:
        patched = _second_pass(model, clean, reading, rows, where, receivers, via)
    return np.expm1((patched - unpatched).cpu().numpy())


def _second_pass(model, clean, reading, rows, where, receivers, via):
    if via in ("k", "v") and model.group_size > 1:
        return _second_pass_per_query_head(model, clean, reading, rows, where, receivers, via)

    def write(output, layer):
        split = _heads(output, model).clone()
        recorded = _heads(reading[layer].output, model)
        for at, head in receivers:
            if _site(at, f"{via}_proj") == layer:
                split[rows, where, head] = recorded[rows, where, head]
        return split.flatten(-2)

    with TraceDict(model.hf, list(reading), edit_output=write):
        return _log_prob(model, clean.tokens, clean)


def _second_pass_per_query_head(model, clean, reading, rows, where, receivers, via):
    """k or v of one query head of a group: no projection holds it, so the attention is written out
    by hand.
    """
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    tokens = clean.tokens
    h = model.hf.model.embed_tokens(tokens)
    cos, sin = model.hf.model.rotary_emb(h, torch.arange(tokens.shape[1])[None])
    causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
    for at, block in enumerate(model.layers.blocks):
        x = block.input_layernorm(h)
        q, k, v = (_heads(getattr(block.self_attn, f"{n}_proj")(x), model) for n in "qkv")
        k, v = (t.repeat_interleave(model.group_size, dim=2).clone() for t in (k, v))
        for layer, head in receivers:
            if layer == at:
                recorded = _heads(reading[_site(at, f"{via}_proj")].output, model)
                (k if via == "k" else v)[rows, where, head] = recorded[
                    rows, where, head // model.group_size
                ]
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        scores = (q @ k.transpose(-1, -2)) * model.d_head**-0.5
        pattern = scores.masked_fill(~causal, float("-inf")).softmax(-1)
        h = h + block.self_attn.o_proj((pattern @ v).transpose(1, 2).flatten(-2))
        h = h + block.mlp(block.post_attention_layernorm(h))
    last = model.hf.model.norm(h)[rows, clean.at("last")]
    return model.hf.lm_head(last).log_softmax(-1)[rows, clean.answers]

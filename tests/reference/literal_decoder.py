"""Any decoder as a whole: Hugging Face's own forward with an attention function that is watched and
edited.

It shares nothing with `entrack.model.layers`: whole prompts go through the whole model, the masks
(windows too) are those that Hugging Face makes, and keys and values are repeated for every query
head, so that each can be edited alone."""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

Edit = Callable[[str, int, torch.Tensor], torch.Tensor]
"""(kind, layer, vectors) -> vectors. Kinds q, k, v and z are [example head pos d_head], "scores"
(before the softmax) and "pattern" (after it) are [example head pos pos]."""

_edit: list[Edit] = []


def _attention(
    module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None, **_
):
    edit, layer = _edit[-1], module.layer_idx
    group = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(group, dim=1) for x in (key, value))
    query, key, value = (
        edit(kind, layer, x) for kind, x in (("q", query), ("k", key), ("v", value))
    )
    scores = query @ key.transpose(-1, -2) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = edit("scores", layer, scores + attention_mask)
    pattern = edit("pattern", layer, scores.float().softmax(-1)).to(value.dtype)
    return edit("z", layer, pattern @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register("literal", _attention)
AttentionMaskInterface.register("literal", eager_mask)


@contextmanager
def _watched(hf, edit):
    own = hf.config._attn_implementation
    hf.config._attn_implementation = "literal"
    _edit.append(edit)
    try:
        yield
    finally:
        _edit.pop()
        hf.config._attn_implementation = own


@torch.no_grad()
def whole_pass(model, tokens, edit=lambda kind, layer, vectors: vectors):
    """Logits [example pos vocabulary] of a whole pass under `edit`."""
    with _watched(model.hf, edit):
        return model.hf(tokens, use_cache=False).logits


def activations(model, tokens):
    """(kind, layer) -> what attention works on, of an unedited whole pass."""
    found = {}

    def note(kind, layer, vectors):
        found[kind, layer] = vectors.clone()
        return vectors

    whole_pass(model, tokens, note)
    return found


def last_logits(model, prompts, edit=lambda kind, layer, vectors: vectors):
    """Logits at the last token [example vocabulary]."""
    return whole_pass(model, prompts.tokens, edit)[torch.arange(len(prompts)), prompts.at("last")]


def path_patched_logits(model, clean, corrupt, *, sender, role, receivers=(), via="logits"):
    """Last logits [example vocabulary] after path patching one sender (layer, head): two whole
    passes, the sender's z from the corrupt run and all others from the role on frozen."""
    own, other = activations(model, clean.tokens), activations(model, corrupt.tokens)
    rows, where = torch.arange(len(clean)), clean.at(role)
    later = (torch.arange(clean.tokens.shape[1]) >= where[:, None])[:, None, :, None]
    given = {}

    def send(kind, layer, vectors):
        if kind == "z":
            vectors = torch.where(later, own["z", layer], vectors).clone()
            if layer == sender[0]:
                taken = other["z", layer][rows, sender[1], corrupt.at(role)]
                vectors[rows, sender[1], where] = taken
        if kind == via:
            given[layer] = vectors[rows, :, where]
        return vectors

    logits = last_logits(model, clean, send)
    if via == "logits":
        return logits

    def receive(kind, layer, vectors):
        if kind == via:
            vectors = vectors.clone()
            for head in (h for at, h in receivers if at == layer):
                vectors[rows, head, where] = given[layer][:, head]
        return vectors

    return last_logits(model, clean, receive)

"""Whole passes with hooks: what patching must equal."""

import torch

from entrack.model.hooks import TraceDict


def hooked_logits(model, data, *, role, heads, weight=1.0, donor=None):
    """Logits at the last token of whole base passes in which heads come from whole source
    passes, of another model (donor) if there is one.
    """
    rows, where = torch.arange(len(data)), data.base.at(role)
    logits = None
    layers = sorted({h.layer for h in heads})
    with torch.no_grad():
        giver = donor or model
        with TraceDict(
            giver.hf, [giver.site(layer, "o_proj") for layer in layers], retain_input=True
        ) as traces:
            giver.hf(data.source.tokens)
        taken = {
            layer: traces[model.site(layer, "o_proj")].input[rows, data.source.at(role)]
            for layer in layers
        }

        def edit(z, layer):
            number = int(layer.split(".")[2])
            split = z.unflatten(-1, (model.n_heads, -1)).clone()
            for head in (h.head for h in heads if h.layer == number):
                new = taken[number].unflatten(-1, (model.n_heads, -1))[:, head]
                split[rows, where, head] = (1 - weight) * split[rows, where, head] + weight * new
            return split.flatten(-2)

        with TraceDict(
            model.hf, [model.site(layer, "o_proj") for layer in layers], edit_input=edit
        ):
            logits = model.hf(data.base.tokens).logits
    return logits[rows, data.base.at("last")]


def logits_with(model, prompts, z, edits):
    """Logits at the last token of whole passes, with z(role, head) [example d_head] put in by hooks
    for the heads of `edits`, a list of (role, heads).
    """
    rows = torch.arange(len(prompts))

    def put(own, layer):
        new = own.clone().unflatten(-1, (model.n_heads, model.d_head))
        for role, heads in edits:
            for head in heads:
                if model.site(head.layer, "o_proj") == layer:
                    new[rows, prompts.at(role), head.head] = z(role, head)
        return new.flatten(-2)

    sites = [model.site(h.layer, "o_proj") for _, heads in edits for h in heads] or [
        model.site(0, "o_proj")
    ]
    with torch.no_grad(), TraceDict(model.hf, sites, edit_input=put):
        return model.hf(prompts.tokens).logits[rows, prompts.at("last")]

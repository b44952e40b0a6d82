"""Mean ablation by hooks on `o_proj` in a whole pass: the plain way."""

import torch

from entrack.model.hooks import TraceDict


@torch.no_grad()
def literal_ablation(model, prompts, means, *, ablate):
    """Log probability of the answer [example]; `ablate` [layer example pos head] says what gives
    its mean.
    """
    names = [model.site(layer, "o_proj") for layer in range(model.n_layers)]

    def edit(z, layer):
        at = names.index(layer)
        own = z.unflatten(-1, (-1, model.d_head))
        return torch.where(ablate[at][..., None], means.z[at][None], own).flatten(-2)

    with TraceDict(model.hf, names, edit_input=edit):
        final = model.hf.model(prompts.tokens)
    rows = torch.arange(len(prompts))
    logits = model.hf.lm_head(final.last_hidden_state[rows, prompts.at("last")])
    return logits.log_softmax(-1)[rows, prompts.answers]

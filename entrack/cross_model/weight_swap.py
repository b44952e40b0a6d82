"""Where in the weights a fine-tuned version differs, and models in which only some of that
difference is made.

A head owns the rows of W_Q, W_K and W_V that make its q, k and v, and the columns of W_O that read
its output. Under grouped-query attention several query heads share the rows of W_K and W_V; a graft
splits them (`per_head`), so that each query head can take its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrack.errors import ConfigError
from entrack.model.activations import Run
from entrack.model.decoder import Model, check_pair
from entrack.sites import Head, check_heads
from entrack.store.digests import digest
from entrack.store.results import stored

MATRICES = ("q", "k", "v", "o")


@dataclass(frozen=True)
class UpdateNorms:
    """How far the weights of one version are from those of another, head by head.

    Attributes:
        update: Frobenius norm of the difference [matrix layer head], matrices as in MATRICES. Heads
            that share a kv-head share its k and v.
        weight: Frobenius norm of the same block in `onto` [matrix layer head].
        elsewhere: norm of the difference of all weights that belong to no head (MLPs, norms,
            embeddings); 0 for a LoRA on q, k, v and o.
        model, onto: names of the two versions.
    """

    update: np.ndarray
    weight: np.ndarray
    elsewhere: float
    model: str
    onto: str

    @property
    def relative(self) -> np.ndarray:
        """Norm of the update over the norm of the weight [matrix layer head]; 0 = unchanged."""
        return self.update / self.weight

    def mean_relative(self, heads: Sequence[Head] | None = None) -> np.ndarray:
        """Mean of `relative` over some heads, or over all, per matrix [matrix]."""
        if heads is None:
            return self.relative.mean((1, 2))
        layers, numbers = zip(*((h.layer, h.head) for h in heads), strict=True)
        return self.relative[:, layers, numbers].mean(1)


def update_norms(model: Model, *, onto: Model) -> UpdateNorms:
    """The norms of the weights of `model` less those of `onto`, with adapters merged. Stored.

    Raises ModelError for models of different shape. Costs a pass over the weights.
    """
    check_pair(model, onto)
    return _update_norms(model, onto)


@stored("update-norms")
@torch.no_grad()
def _update_norms(model: Model, onto: Model) -> UpdateNorms:
    update, weight = (np.zeros((len(MATRICES), onto.n_layers, onto.n_heads)) for _ in range(2))
    own, theirs = onto.hf.state_dict(), model.hf.state_dict()
    for m, matrix in enumerate(MATRICES):
        for layer in range(onto.n_layers):
            name = f"{onto.site(layer, f'{matrix}_proj')}.weight"
            change = theirs[name].float() - own[name].float()
            update[m, layer], weight[m, layer] = (
                _by_head(onto, w, matrix) for w in (change, own[name].float())
            )
    of_heads = {
        f"{onto.site(layer, f'{m}_proj')}.weight"
        for layer in range(onto.n_layers)
        for m in MATRICES
    }
    elsewhere = sum(
        float((theirs[n].float() - own[n].float()).square().sum()) for n in own if n not in of_heads
    )
    return UpdateNorms(
        update=update, weight=weight, elsewhere=elsewhere**0.5, model=model.name, onto=onto.name
    )


def _by_head(model: Model, weight: Tensor, matrix: str) -> np.ndarray:
    """Frobenius norm of each head's block [head]."""
    blocks = (weight.T if matrix == "o" else weight).unflatten(0, (-1, model.d_head))
    norms = blocks.flatten(1).norm(dim=1)
    return norms.repeat_interleave(model.n_heads // len(norms)).cpu().numpy()


@torch.no_grad()
def per_head(model: Model) -> Model:
    """The same model with k and v projections of its own for every query head (multi-head
    attention).

    It computes the same, up to rounding; the other weights are shared with `model`, not copied.
    Raises ModelError for a model whose q, k and v share one projection.
    """
    if model.group_size == 1:
        return model
    state = dict(model.hf.state_dict())
    for layer in range(model.n_layers):
        for matrix in "kv":
            names = [f"{model.site(layer, f'{matrix}_proj')}.{kind}" for kind in ("weight", "bias")]
            norm = f"{model.layers.path('attention', layer)}.k_norm.weight"
            # A norm over all keys jointly has a weight for each of their dimensions.
            if matrix == "k" and norm in state and len(state[norm]) > model.d_head:
                names.append(norm)
            for name in (n for n in names if n in state):
                blocks = state[name].unflatten(0, (-1, model.d_head))
                state[name] = blocks.repeat_interleave(model.group_size, dim=0).flatten(0, 1)
    return _with_weights(
        model, state, n_kv_heads=model.n_heads, identity=digest("per head", model.digest)
    )


def per_head_run(run: Run, *, group_size: int) -> Run:
    """A run of a model as its `per_head` twin would give it: keys and values [layer example head
    pos d_head].
    """
    if group_size == 1:
        return run
    return replace(
        run,
        **{
            name: getattr(run, name).repeat_interleave(group_size, dim=2)
            for name in ("keys", "values")
        },
    )


@torch.no_grad()
def graft(
    receiver: Model, donor: Model, *, heads: Iterable[Head], matrices: str = "qkvo", name: str = ""
) -> Model:
    """`receiver` with some heads' weights taken from `donor`, as if only these had been fine-tuned.

    Args:
        heads: whose rows (of W_Q, W_K, W_V) and columns (of W_O) come from the donor, at every
            position.
        matrices: which of the four, such as "qk".
        name: of the new model; default says what it is.

    Returns:
        A model with multi-head attention (see `per_head`). No heads: the receiver; all heads and
        matrices: the donor, where the donor differs in nothing else.

    Raises:
        ModelError: different shapes. SiteError: a head there is not. ConfigError: an unknown
            matrix.
    """
    check_pair(donor, receiver)
    unknown = sorted(set(matrices) - set(MATRICES))
    if unknown or not matrices:
        raise ConfigError(
            f"matrices {matrices!r}; allowed are letters of {''.join(MATRICES)!r}, at least one."
            ' Use "qkvo" for all.'
        )
    heads = check_heads(sorted(set(heads)), receiver.n_layers, receiver.n_heads)
    own, given = per_head(receiver), per_head(donor)
    state, source = dict(own.hf.state_dict()), given.hf.state_dict()
    for layer in sorted({h.layer for h in heads}):
        chosen = torch.zeros(own.n_heads, dtype=torch.bool, device=own.device)
        chosen[[h.head for h in heads if h.layer == layer]] = True
        taken = chosen.repeat_interleave(own.d_head)
        for matrix in matrices:
            key = f"{own.site(layer, f'{matrix}_proj')}.weight"
            mask = taken[None] if matrix == "o" else taken[:, None]
            state[key] = torch.where(mask, source[key].to(state[key]), state[key])
    identity = digest(
        "graft", receiver.digest, donor.digest, [str(h) for h in heads], "".join(sorted(matrices))
    )
    grafted = _with_weights(own, state, n_kv_heads=own.n_heads, identity=identity)
    return replace(
        grafted,
        name=name or f"{receiver.name} with {matrices} of {len(heads)} heads of {donor.name}",
    )


def _with_weights(
    model: Model, state: dict[str, Tensor], *, n_kv_heads: int, identity: str
) -> Model:
    settings = {
        **model.config.to_dict(),
        "num_key_value_heads": n_kv_heads,
        "head_dim": model.d_head,
    }
    with torch.device("meta"):
        hf = type(model.hf)(type(model.config).from_dict(settings))
    hf.load_state_dict(state, assign=True)
    hf.tie_weights()
    # What is no weight (rotary frequencies, a scale of the embedding) has no values on "meta".
    for name, buffer in model.hf.named_buffers():
        if name not in state:
            owner, _, own = name.rpartition(".")
            hf.get_submodule(owner)._buffers[own] = buffer
    return Model.of(
        hf.eval().requires_grad_(False),
        model.tokenizer,
        name=model.name,
        digest=identity,
        family=model.family,
        version=model.version,
    )

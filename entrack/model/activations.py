"""What a model computed on a set of prompts: clean runs to patch on top of, and means to ablate
with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from entrack.errors import AlignmentError, SiteError
from entrack.model.decoder import Model
from entrack.model.hooks import TraceDict
from entrack.task.prompts import Prompts

# Examples whose clean run is held at once: about 10 MB each for SmolLM2, 190 MB in bfloat16 for
# Llama-7B.
CHUNK = 50


@dataclass(frozen=True, eq=False)
class Run:
    """A clean pass over some prompts, with all that a partial pass on top of it needs.

    Attributes:
        prompts: what was run.
        resid: residual stream entering each layer, and after them what leaves the last one
            [layer+1 example pos d_model].
        keys, values: as attention reads them, keys after their norm and rotary embedding [layer
            example kv_head pos d_head].
        z: head outputs before `o_proj` [layer example pos head d_head].
    """

    prompts: Prompts
    resid: Tensor
    keys: Tensor
    values: Tensor
    z: Tensor

    @property
    def length(self) -> int:
        """Positions of a prompt, padding included."""
        return self.keys.shape[3]

    def z_at(self, role: str) -> Tensor:
        """Head outputs at a role [layer example head d_head]."""
        return self.z[:, torch.arange(len(self.prompts)), self.prompts.at(role)]

    def resid_at(self, role: str) -> Tensor:
        """Residual stream at a role [layer+1 example d_model]."""
        return self.resid[:, torch.arange(len(self.prompts)), self.prompts.at(role)]


@torch.no_grad()
def clean_run(model: Model, prompts: Prompts) -> Run:
    """Run `prompts` unedited through Hugging Face's own forward and keep what `Run` holds.

    Prompts of different length are padded on the right, which a causal model never sees.
    Cost: one forward pass without the logits; memory per example is
    `4 * n_layers * pos * (d_model + n_heads*d_head + 2*n_kv_heads*d_head)` bytes in float32.
    """
    layers = range(model.n_layers)
    outputs = [model.site(layer, "o_proj") for layer in layers]
    inputs = [model.layers.path("layer", layer) for layer in layers]
    inputs.append(model.layers.path("final norm"))
    # A cache made from the config would keep the keys of a window only.
    cache = DynamicCache()
    with TraceDict(model.hf, outputs + inputs, retain_input=True, retain_output=False) as traces:
        model.hf.base_model(prompts.tokens.to(model.device), past_key_values=cache, use_cache=True)
    given = {
        name: x if isinstance(x := trace.input, Tensor) else x[0] for name, trace in traces.items()
    }
    return Run(
        prompts=prompts,
        resid=torch.stack([given[name] for name in inputs]),
        keys=torch.stack([layer.keys for layer in cache.layers]),
        values=torch.stack([layer.values for layer in cache.layers]),
        z=torch.stack([given[name] for name in outputs]).unflatten(
            -1, (model.n_heads, model.d_head)
        ),
    )


def clean_runs(
    model: Model, prompts: Prompts, *, chunk: int = CHUNK
) -> Iterator[tuple[range, Run]]:
    """`clean_run` over consecutive chunks of `prompts`, each with the indices it covers."""
    for lo in range(0, len(prompts), chunk):
        covered = range(lo, min(lo + chunk, len(prompts)))
        yield covered, clean_run(model, prompts.subset(list(covered)))


def project(
    model: Model, resid: Tensor, positions: Tensor, *, length: int, kind: str, layer: int
) -> Tensor:
    """The q, k or v vectors that `layer` makes of a residual stream, per query head, as attention
    reads them: after their norms and rotary embedding.

    Args:
        resid: [example slot d_model], entering `layer`.
        positions: where these tokens stand [example slot].
        length: of the prompts, in tokens.

    Returns:
        [example slot head d_head]; k and v of a kv-head are repeated for the query heads that share
        it. Raises SiteError for another kind.
    """
    if kind not in ("q", "k", "v"):
        raise SiteError(f"no projection {kind!r}; allowed are q, k and v. Name one of them.")
    places = model.layers.places(positions.to(resid.device), length=length)
    vectors = getattr(model.layers.read(layer, resid, places), kind).transpose(1, 2)
    return vectors if kind == "q" else vectors.repeat_interleave(model.group_size, dim=-2)


@dataclass(frozen=True, eq=False)
class Means:
    """Mean head output at every absolute position [layer pos head d_head], and over how many
    prompts.
    """

    z: Tensor
    n: int


@torch.no_grad()
def mean_z(model: Model, prompts: Prompts) -> Means:
    """Mean head output per absolute position over `prompts`, all of one length (paper, section
    4.2).

    Sums are kept in float64 (float32 on devices without it). Raises AlignmentError for padded
    prompts: a mean over positions of prompts of different length mixes roles."""
    lengths = prompts.lengths.unique().tolist()
    if len(lengths) > 1:
        raise AlignmentError(
            f"prompts of {lengths} tokens; a mean over positions needs one length. Use one number"
            " of boxes and one format."
        )
    exact = torch.float32 if model.device.type == "mps" else torch.float64
    total: Tensor | int = 0
    for _, run in clean_runs(model, prompts, chunk=CHUNK):
        total = total + run.z.sum(1, dtype=exact)
    return Means(z=(total / len(prompts)).to(model.dtype), n=len(prompts))

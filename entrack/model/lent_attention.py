"""The attention of Hugging Face's own layers, lent to whoever asks for it while a block lasts."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from entrack.errors import ModelError

SAID_ANYWAY = ("position_ids", "use_cache", "output_attentions", "is_causal")
"""What layers tell every attention function and that changes nothing here."""


REASONS = {"s_aux": "attention sinks", "sinks": "attention sinks", "alibi": "alibi biases"}


@dataclass(frozen=True, eq=False)
class AttentionInputs:
    """What a layer asks its attention to work on; the scores and the reach it wants.

    Attributes:
        q: queries, normed and rotated [row head slot d_head].
        k, v: the same of the keys, and the values [row kv_head slot d_head].
        scaling: factor of the products of q and k.
        window: a query sees this many positions, its own included; None = all before it.
        softcap: scores are squeezed into (-softcap, softcap) by tanh; None = not.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scaling: float
    window: int | None
    softcap: float | None

    def scores(self, products: Tensor) -> Tensor:
        """What the softmax is taken of, from products of q and k."""
        scaled = products * self.scaling
        return scaled if self.softcap is None else self.softcap * (scaled / self.softcap).tanh()

    def visible(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Whether a query at a position [... slot] may see a key at one [... pos]: booleans
        [... slot pos]."""
        queries, keys = queries[..., :, None], keys[..., None, :]
        seen = keys <= queries
        return seen if self.window is None else seen & (keys > queries - self.window)


@dataclass(frozen=True, eq=False)
class Places:
    """Where tokens stand: their positions [row slot], and the rotary embedding there by kind of
    layer (None where all layers share one): cos and sin, each [row slot width]."""

    positions: Tensor
    rotary: Mapping[str | None, tuple[Tensor, Tensor]]


Attend = Callable[[AttentionInputs], Tensor]
"""What is done in place of a layer's attention; gives the heads' outputs z [row slot head
d_head]."""


@dataclass(eq=False)
class Call:
    attend: Attend
    asked: int = 0


_CALL: ContextVar[Call | None] = ContextVar("entrack_attention", default=None)


def lent(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    call = _CALL.get()
    if call is None:
        raise ModelError(
            "a model was run while another thread replaces its attention; one model serves one"
            " thread. Load it once for each."
        )
    strange = {k: v for k, v in others.items() if k not in SAID_ANYWAY}
    strange |= {"attention_mask": attention_mask, "dropout": dropout or None}
    unknown = [name for name, given in strange.items() if given is not None]
    if unknown:
        named = ", ".join(f"{n} ({REASONS[n]})" if n in REASONS else n for n in unknown)
        raise Unfit(f"its attention takes {named}, which experiments on heads do not know")
    call.asked += 1
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    z = call.attend(AttentionInputs(query, key, value, scaling, sliding_window, softcap))
    return z, None


class Unfit(Exception):
    """Why a model cannot be used."""


class Seen(Exception):
    """Ends a layer once it has asked for its attention."""

    def __init__(self, inputs: AttentionInputs):
        super().__init__()
        self.inputs = inputs


class Given(nn.Module):
    """Stands where a layer's attention is and gives a known output."""

    def __init__(self, output: Tensor):
        super().__init__()
        self.output, self.asked = output, 0

    def forward(self, *_: Any, **__: Any) -> tuple[Tensor, None]:
        self.asked += 1
        return self.output, None


def causal(inputs: AttentionInputs) -> Tensor:
    """Attention of whole sequences to themselves: z [row slot head d_head]."""
    group = inputs.q.shape[1] // inputs.k.shape[1]
    products = inputs.q.unflatten(1, (-1, group)) @ inputs.k[:, :, None].transpose(-1, -2)
    every = torch.arange(inputs.q.shape[2], device=inputs.q.device)
    scores = inputs.scores(products).masked_fill(~inputs.visible(every, every), float("-inf"))
    pattern = scores.softmax(-1, dtype=torch.float32).to(inputs.v.dtype)
    return (pattern @ inputs.v[:, :, None]).flatten(1, 2).transpose(1, 2)

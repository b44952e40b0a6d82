"""One language model, ready for experiments: its shape, its weights, and proof that hooks see
it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from entrack.errors import ModelError
from entrack.model.hooks import Trace


@dataclass(frozen=True, eq=False)
class Model:
    """A Llama-architecture model, ready for experiments: evaluation mode, no gradients, no hooks.

    Attributes:
        name: `family/version`, or the folder or hub id it came from.
        family, version: the two halves of the name; version is "" for a folder or hub id.
        digest: identifies the weights.
        config: its `LlamaConfig`.
        tokenizer: its tokenizer.
        device, dtype: of the weights.
        read: gives the `LlamaForCausalLM`; `hf` calls it once.
    """

    name: str
    digest: str
    config: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    read: Callable[[], Any] = field(repr=False)
    family: str = ""
    version: str = ""

    @classmethod
    def of(
        cls, hf: Any, tokenizer: Any, *, name: str, digest: str, family: str = "", version: str = ""
    ) -> "Model":
        """A `Model` of weights that are in memory already."""
        return cls(
            name, digest, hf.config, tokenizer, hf.device, hf.dtype, lambda: hf, family, version
        )

    @cached_property
    def hf(self) -> Any:
        """The `LlamaForCausalLM` itself, with adapters merged.

        Read at the first use, since results that are stored already need no weights: seconds and
        half a gigabyte for the default family. Raises ModelError where the weights are corrupt or
        do not fit into the memory."""
        return self.read()

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells this model from others in the key of a stored result: the digest of its
        weights, their dtype, and its name, which results carry.
        """
        return self.digest, str(self.dtype), self.name

    @property
    def n_layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def n_heads(self) -> int:
        return self.config.num_attention_heads

    @property
    def n_kv_heads(self) -> int:
        return self.config.num_key_value_heads

    @property
    def group_size(self) -> int:
        """Query heads that share one kv-head (1 in MHA, n_heads in MQA)."""
        return self.n_heads // self.n_kv_heads

    @property
    def d_head(self) -> int:
        return getattr(self.config, "head_dim", None) or self.d_model // self.n_heads

    @property
    def d_model(self) -> int:
        return self.config.hidden_size

    @cached_property
    def layers(self) -> nn.ModuleList:
        return self.hf.model.layers

    @property
    def shape(self) -> dict[str, int]:
        """What two models must share for activations to be exchanged between them."""
        return {
            k: getattr(self, k) for k in ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model")
        }

    def site(self, layer: int, projection: str) -> str:
        """Dotted name of `q_proj`, `k_proj`, `v_proj` or `o_proj` of `layer`, as `Trace`
        takes it.
        """
        return f"model.layers.{layer}.self_attn.{projection}"

    def self_check(self) -> None:
        """Prove that the hooks see what they claim.

        Shapes: the input of `o_proj` is [example pos n_heads*d_head], `k_proj` gives
            n_kv_heads*d_head.
        Causal handle: changing one head's output at position p changes the logits at p and later,
        and none before. Raises ModelError. Costs three forward passes of eight tokens."""
        tokens = torch.arange(8, device=self.device)[None] + 10
        layer, width = self.n_layers // 2, self.n_heads * self.d_head
        position = 4
        seen: dict[str, tuple[int, ...]] = {}

        def nudge(z: torch.Tensor) -> torch.Tensor:
            seen["z"] = tuple(z.shape)
            change = torch.zeros_like(z)
            change[:, position, : self.d_head] = 1 + z.abs().max()
            return z + change

        with torch.no_grad():
            clean = self.hf(tokens).logits
            with Trace(self.hf, self.site(layer, "k_proj")) as keys:
                self.hf(tokens)
            with Trace(self.hf, self.site(layer, "o_proj"), edit_input=nudge):
                edited = self.hf(tokens).logits
        moved = (edited - clean).abs().amax(-1)[0]
        found = {"z": seen["z"][-1], "k": keys.output.shape[-1]}
        expected = {"z": width, "k": self.n_kv_heads * self.d_head}
        if found != expected:
            raise ModelError(
                f"the projections of {self.name} have widths {found}, not {expected}; "
                "its config does not describe its weights. Use an unmodified Llama."
            )
        if moved[:position].max() > 0 or moved[position] == 0:
            raise ModelError(
                f"changing a head of {self.name} at position {position} moved the logits by"
                f" {moved.tolist()}; only that position and later ones may move. This model is not"
                " a plain causal Llama."
            )

"""One language model, ready for experiments: its shape, its weights, and proof that it is seen as
it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from entrack.errors import ModelError
from entrack.model.hooks import Trace
from entrack.model.layers import Layers


@dataclass(frozen=True, eq=False)
class Model:
    """A causal decoder, ready for experiments: evaluation mode, no gradients, no hooks.

    Attributes:
        name: `family/version`, or the folder or hub id it came from.
        family, version: the two halves of the name; version is "" for a folder or hub id.
        digest: identifies the weights.
        config: its Hugging Face config.
        tokenizer: its tokenizer.
        device, dtype: of the weights.
        read: gives Hugging Face's model; `hf` calls it once.
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
        """Hugging Face's model itself, with adapters merged.

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
        return getattr(self.config, "num_key_value_heads", None) or self.n_heads

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
    def layers(self) -> Layers:
        """The one view through which experiments run the model's layers."""
        return Layers(self.hf, name=self.name)

    @property
    def shape(self) -> dict[str, int]:
        """What two models must share for activations of one to be patched into the other."""
        return {
            k: getattr(self, k) for k in ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model")
        }

    def site(self, layer: int, projection: str) -> str:
        """Dotted name of a projection of the attention of `layer`, as `Trace` takes it: "o_proj"
        whatever the architecture calls it, and where it has them "q_proj", "k_proj" and "v_proj".
        """
        return self.layers.path(projection, layer)

    def self_check(self) -> None:
        """Prove that the model is seen as it is.

        View: `Layers.check`, layer by layer against the model's own forward.
        Shapes: the heads that a layer asks attention for are those of the config.
        Causal handle: changing one head's output at position p changes the logits at p and later,
            and none before (two rows of one pass, the head changed in one of them).

        Raises ModelError. Costs some four passes of eight tokens."""
        tokens = torch.arange(8, device=self.device).expand(2, -1) + 10
        layer, position = self.n_layers // 2, 4

        def nudge(z: torch.Tensor) -> torch.Tensor:
            change = torch.zeros_like(z)
            change[1, position, : self.d_head] = 1 + z.abs().max()
            return z + change

        self.layers.check()
        self._check_shapes()
        with (
            torch.no_grad(),
            Trace(self.hf, self.site(layer, "o_proj"), edit_input=nudge, retain_output=False),
        ):
            clean, edited = self.hf(tokens).logits.float()
        moved = (edited - clean).abs().amax(-1)
        # Rows of one pass may be rounded apart, by as much as what the view is allowed.
        rounding = max(1e-4, 8 * torch.finfo(self.dtype).eps) * clean.abs().max()
        if moved[:position].max() > rounding or moved[position] == 0:
            raise ModelError(
                f"changing a head of {self.name} at position {position} moved the logits by"
                f" {moved.tolist()}; only that position and later ones may move. This model is not"
                " a plain causal decoder."
            )

    def _check_shapes(self) -> None:
        place = torch.zeros(1, 1, dtype=torch.long, device=self.device)
        h = torch.zeros(1, 1, self.d_model, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            asked = self.layers.read(0, h, self.layers.places(place, length=1))
        found = {"q": tuple(asked.q.shape[1::2]), "k": tuple(asked.k.shape[1::2])}
        expected = {"q": (self.n_heads, self.d_head), "k": (self.n_kv_heads, self.d_head)}
        if found != expected:
            raise ModelError(
                f"the layers of {self.name} have heads and widths {found}, not {expected}; its"
                " config does not describe its weights. Use an unmodified model."
            )


def check_pair(donor: Model, receiver: Model) -> None:
    """Raise ModelError unless the two share every shape, so that activations and weights can change
    places.
    """
    ours, theirs = ({**m.shape, "vocabulary": m.config.vocab_size} for m in (receiver, donor))
    if ours != theirs:
        differ = "; ".join(f"{k} {theirs[k]} and {ours[k]}" for k in ours if ours[k] != theirs[k])
        raise ModelError(
            f"{donor.name} and {receiver.name} differ in shape ({differ}); donor and receiver must"
            " have one. Take two versions of one family."
        )

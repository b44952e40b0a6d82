"""One small view of a decoder, the same for every architecture: Hugging Face's own layers with the
attention function lent to them.

`transformers` lets a function take the place of the attention *function* of a model
(`AttentionInterface`). All else stays the layer's own: the norms of q and k, biases, fused
projections, rotary embeddings, norms behind the attention, multipliers, an MLP beside it. So an
experiment gives what it wants done with q, k and v (`Attend`), and no layer is written out
here. What must be known of an architecture are a few names and scalars; `Layers.check` then proves
the view against the model's own forward, and refuses the model where the two differ.

The attention function belongs to a config that all layers share: one model must not be run by two
threads at once. A second thread meets an error, not another result."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from entrack.errors import ModelError
from entrack.model.hooks import Trace, TraceDict
from entrack.model.lent_attention import (
    _CALL,
    Attend,
    AttentionInputs,
    Call,
    Given,
    Places,
    Seen,
    Unfit,
    causal,
    lent,
)

NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("layers", "h"),
    "final norm": ("norm", "final_layer_norm", "final_layernorm", "ln_f"),
    "attention": ("self_attn", "attention", "attn", "self_attention"),
    "o_proj": ("o_proj", "dense", "c_proj", "out_proj"),
}
"""What architectures call the parts that are needed by name."""

LENT = "entrack"
AttentionInterface.register(LENT, lent)


class Layers:
    """The view of one model. Rows are sequences, slots the tokens of one that are looked at.

    Attributes:
        blocks: the model's own layers.
        norm: its own final norm.

    Raises ModelError for a model whose parts have other names than those in NAMES."""

    def __init__(self, hf: Any, *, name: str):
        self.hf, self.name = hf, name
        self._paths = {id(module): path for path, module in hf.named_modules()}
        try:
            self.blocks: Sequence[Any] = self._part(hf.get_decoder(), "layers")
            self.norm: nn.Module = self._part(hf.get_decoder(), "final norm")
            self._attentions = [self._part(block, "attention") for block in self.blocks]
            self._outputs = [self._part(attention, "o_proj") for attention in self._attentions]
        except Unfit as reason:
            raise self._refusal(reason) from None

    def _part(self, module: nn.Module, part: str) -> Any:
        found = (getattr(module, name, None) for name in NAMES[part])
        if (first := next((f for f in found if f is not None), None)) is None:
            raise Unfit(f"its {type(module).__name__} has no {part} ({', '.join(NAMES[part])})")
        return first

    def _refusal(self, reason: Exception | str) -> ModelError:
        kind = self.hf.config.model_type
        return ModelError(
            f"{self.name}, a {kind!r} model, cannot be experimented on: {reason}; allowed is a"
            " decoder whose layers, given entrack's attention, compute what they compute by"
            " themselves. Use another model."
        )

    def path(self, part: str, layer: int | None = None) -> str:
        """Dotted name of a part as `Trace` takes it: "layer", "attention", "o_proj", any projection
        of the attention by its own name, or "final norm".

        Raises ModelError where the architecture has no such projection of its own."""
        if part == "final norm":
            return self._paths[id(self.norm)]
        attention = self._attentions[layer]
        module = {
            "layer": self.blocks[layer],
            "attention": attention,
            "o_proj": self._outputs[layer],
        }.get(part, getattr(attention, part, None))
        if module is None:
            raise ModelError(
                f"{self.name}, a {self.hf.config.model_type!r} model, has no {part} of its own;"
                " heads' weights are told apart only where q, k and v have projections each. Use a"
                " model that has them."
            )
        return self._paths[id(module)]

    @cached_property
    def _kinds(self) -> tuple[str | None, ...]:
        """For each layer, which of the model's rotary embeddings it takes; None = the only one."""
        rotary = getattr(self.hf.base_model, "rotary_emb", None)
        if rotary is None or "layer_type" not in inspect.signature(rotary.forward).parameters:
            return (None,) * len(self.blocks)
        return tuple(self.hf.base_model.config.layer_types)

    def places(self, positions: Tensor, *, length: int) -> Places:
        """Positions [row slot] in prompts of `length` tokens, on which some rotary embeddings
        depend."""
        if (rotary := getattr(self.hf.base_model, "rotary_emb", None)) is None:
            return Places(positions, {})
        like = torch.empty(0, device=positions.device, dtype=self.hf.dtype)
        every = torch.arange(length, device=positions.device)[None]
        tables = {
            kind: rotary(like, every, *([] if kind is None else [kind]))
            for kind in set(self._kinds)
        }
        return Places(
            positions,
            {k: (cos[0][positions], sin[0][positions]) for k, (cos, sin) in tables.items()},
        )

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Residual stream entering layer 0 [row slot d_model] of tokens at positions [row slot]."""
        with Trace(
            self.hf, self.path("layer", 0), retain_input=True, retain_output=False, stop=True
        ) as trace:
            self.hf.base_model(tokens, position_ids=positions, use_cache=False)
        return _first(trace.input)

    def forward(self, layer: int, h: Tensor, places: Places, attend: Attend) -> Tensor:
        """What `layer` makes of the residual stream entering it [row slot d_model]."""
        told = {"position_ids": places.positions}
        if places.rotary:
            told["position_embeddings"] = places.rotary[self._kinds[layer]]
        with self._lending(attend) as call:
            out = _first(self.blocks[layer](h, attention_mask=None, **told))
        if call.asked != 1:
            raise self._refusal(
                f"its layer {layer} asks for attention {call.asked} times, not once, through the"
                " interface of transformers"
            )
        return out

    def with_output(self, layer: int, h: Tensor, output: Tensor) -> Tensor:
        """What `layer` makes of `h` when its attention (after `o_proj`) gives `output`, both [row
        slot d_model]: no attention is computed."""
        block, given = self.blocks[layer], Given(output)
        name = next(n for n in NAMES["attention"] if n in block._modules)
        own = block._modules[name]
        block._modules[name] = given
        try:
            out = _first(block(h, attention_mask=None))
        finally:
            block._modules[name] = own
        if given.asked != 1:
            raise self._refusal(f"its layer {layer} calls its attention {given.asked} times")
        return out

    def read(self, layer: int, h: Tensor, places: Places) -> AttentionInputs:
        """What `layer` asks its attention to work on for `h` [row slot d_model], and no more."""

        def see(inputs: AttentionInputs) -> Tensor:
            raise Seen(inputs)

        try:
            self.forward(layer, h, places, see)
        except Seen as seen:
            return seen.inputs
        raise self._refusal(f"its layer {layer} hides what its attention works on")

    def output(self, layer: int, z: Tensor) -> Tensor:
        """What the attention of `layer` gives [... d_model] for z [... head d_head]."""
        return self._outputs[layer](z.flatten(-2))

    def logits(self, resid: Tensor) -> Tensor:
        """Logits [... vocabulary] of what leaves the last layer [... d_model]."""
        return self.unembed(self.norm(resid))

    def unembed(self, normed: Tensor) -> Tensor:
        """Logits [... vocabulary] of what leaves the final norm [... d_model]."""
        return self._scaled(self.hf.get_output_embeddings()(normed))

    def logit(self, resid: Tensor, tokens: Tensor) -> Tensor:
        """The logit of one token each [...], in float32: `resid` [... d_model], `tokens` [...]."""
        unembedding = self.hf.get_output_embeddings()
        found = (self.norm(resid).float() * unembedding.weight[tokens].float()).sum(-1)
        if getattr(unembedding, "bias", None) is not None:
            found = found + unembedding.bias[tokens].float()
        return self._scaled(found)

    def _scaled(self, logits: Tensor) -> Tensor:
        config = self.hf.config
        if getattr(config, "logits_scaling", None) is not None:
            logits = logits / config.logits_scaling
        if getattr(config, "logit_scale", None) is not None:
            logits = logits * config.logit_scale
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    @contextmanager
    def _lending(self, attend: Attend) -> Iterator[Call]:
        config, call = self.hf.base_model.config, Call(attend)
        own, token = config._attn_implementation, _CALL.set(call)
        config._attn_implementation = LENT
        try:
            yield call
        except Unfit as reason:
            raise self._refusal(reason) from None
        finally:
            config._attn_implementation = own
            _CALL.reset(token)

    @torch.no_grad()
    def check(self) -> None:
        """Prove this view on random tokens against the model's own forward: embedding, every layer
        (whole, its heads, with attention given), logits, one layer per window with a longer prompt.

        Raises ModelError with the reason. Costs three passes of 8 tokens, and one per window."""
        try:
            self._check_window({w: layer for layer, w in reversed(list(enumerate(self._check())))})
        except (TypeError, RuntimeError) as error:  # a missing argument, shapes that do not fit
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise self._refusal(f"its parts do not fit as in other decoders ({error})") from error

    def _check(self) -> list[int | None]:
        """The windows of the layers, once all is found equal on a few tokens."""
        tokens = self._tokens(8)
        entering = [self.path("layer", layer) for layer in range(len(self.blocks))]
        entering.append(self.path("final norm"))
        attended = [self.path("attention", layer) for layer in range(len(self.blocks))]
        heads = [self.path("o_proj", layer) for layer in range(len(self.blocks))]
        with TraceDict(self.hf, entering + attended + heads, retain_input=True) as traces:
            own = self.hf(tokens, use_cache=False).logits
        resid = [_first(traces[name].input) for name in entering]
        places = self._whole(tokens)
        self._compare("the embedding", self.embed(tokens, places.positions), resid[0])
        windows: list[int | None] = []
        for layer, name in enumerate(heads):
            seen: list[Tensor] = []

            def attend(inputs: AttentionInputs, seen: list[Tensor] = seen) -> Tensor:
                windows.append(inputs.window)
                seen.append(causal(inputs))
                return seen[0]

            whole = self.forward(layer, resid[layer], places, attend)
            self._compare(f"head outputs of layer {layer}", seen[0].flatten(-2), traces[name].input)
            self._compare(f"layer {layer}", whole, resid[layer + 1])
            output = _first(traces[attended[layer]].output)
            self._compare(f"o_proj of layer {layer}", self.output(layer, seen[0]), output)
            given = self.with_output(layer, resid[layer], output)
            self._compare(f"layer {layer} with its attention given", given, resid[layer + 1])
        self._compare("the logits", self.logits(resid[-1]), own)
        return windows

    def _check_window(self, first: Mapping[int | None, int]) -> None:
        """`first`: each window -> the lowest layer that has it."""
        reach = self.hf.config.max_position_embeddings
        lengths = [min(window + 4, reach) for window in first if window and window < reach]
        if not lengths:
            return
        tokens = self._tokens(max(lengths))
        names = [self.path("layer", layer) for layer in sorted(first.values())]
        with TraceDict(self.hf, names, retain_input=True, stop=True) as traces:
            self.hf.base_model(tokens, use_cache=False)
        for layer, name in zip(sorted(first.values()), names, strict=True):
            entering = _first(traces[name].input)
            found = self.forward(layer, entering, self._whole(tokens), causal)
            expected = _first(traces[name].output)
            self._compare(f"layer {layer} beyond its window", found, expected)

    def _tokens(self, n: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        vocabulary = self.hf.config.vocab_size
        return torch.randint(vocabulary, (1, n), generator=generator).to(self.hf.device)

    def _whole(self, tokens: Tensor) -> Places:
        every = torch.arange(tokens.shape[1], device=tokens.device)[None]
        return self.places(every, length=tokens.shape[1])

    def _compare(self, what: str, found: Tensor, expected: Tensor) -> None:
        # Wrong views measured on tiny models are off by 0.09 and more; rounding by a few epsilon.
        allowed = max(1e-4, 8 * torch.finfo(expected.dtype).eps)
        size = expected.float().abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        error = (found.float() - expected.float()).abs().max() / size
        if found.shape != expected.shape or not error <= allowed:
            raise self._refusal(f"{what} comes out with a relative error of {float(error):.2g}")


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value

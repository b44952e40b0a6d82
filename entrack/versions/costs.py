"""What an experiment costs, by formula: floating-point operations and bytes, from the shape of a
model and of its prompts.

Products of matrices are counted, two operations each (one to multiply, one to add); norms, softmax
and rotary embeddings are not. `tests/versions/test_costs.py` counts the same experiments as they
run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from entrack.sites import GROUPS
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder with a gated MLP, as Llama's is: three matrices of d_model by
    d_mlp."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The shape in a Hugging Face config."""
        heads = config.num_attention_heads
        return cls(
            n_layers=config.num_hidden_layers,
            d_model=config.hidden_size,
            n_heads=heads,
            n_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            d_head=getattr(config, "head_dim", None) or config.hidden_size // heads,
            d_mlp=config.intermediate_size,
            vocabulary=config.vocab_size,
        )

    @property
    def inputs(self) -> int:
        """Weights of q, k and v in one layer."""
        return self.d_model * (self.n_heads + 2 * self.n_kv_heads) * self.d_head

    @property
    def output(self) -> int:
        """Weights of the attention's output in one layer."""
        return self.n_heads * self.d_head * self.d_model

    @property
    def mlp(self) -> int:
        """Weights of the MLP in one layer."""
        return 3 * self.d_model * self.d_mlp

    @property
    def layer(self) -> int:
        """Weights of one layer, norms left out."""
        return self.inputs + self.output + self.mlp

    @property
    def answer(self) -> int:
        """Operations of the logits of one token."""
        return 2 * self.vocabulary * self.d_model

    def token(self, context: float) -> float:
        """Operations of one token in one layer, with attention to `context` tokens."""
        return 2 * self.layer + 4 * self.n_heads * self.d_head * context

    def run_bytes(self, tokens: int, itemsize: int) -> int:
        """Bytes that a clean run keeps of one prompt (`model.activations.Run`)."""
        by_head = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        return itemsize * tokens * ((self.n_layers + 1) * self.d_model + self.n_layers * by_head)


@dataclass(frozen=True)
class Text:
    """The shape of prompts.

    Attributes:
        tokens: of one prompt.
        slots: role -> tokens from it to the last one, both counted; a mean over prompts.
        n_boxes: questions that one scene answers.
    """

    tokens: int
    slots: Mapping[str, float]
    n_boxes: int

    @classmethod
    def of(cls, prompts: Prompts) -> "Text":
        """The shape of `prompts`, all of one length and number of boxes."""
        last = prompts.at("last")
        return cls(
            tokens=prompts.tokens.shape[1],
            slots={
                role: float((last - at + 1).double().mean()) for role, at in prompts.roles.items()
            },
            n_boxes=prompts.segments["label"].shape[1],
        )


def whole(shape: Shape, text: Text) -> float:
    """Operations of one prompt through all layers, without logits: a *pass*, in which other costs
    are told."""
    return shape.n_layers * text.tokens * shape.token(text.tokens)


def replayed(shape: Shape, text: Text, *, slots: float, layers: float) -> float:
    """Of `slots` tokens run again through the last `layers` layers, and their answer."""
    return slots * layers * shape.token(text.tokens + slots) + shape.answer


def scene(shape: Shape, text: Text) -> float:
    """Of one scene with a question about every box (`patching.accuracy.score_task`)."""
    slots = text.slots["query_label"]
    question = replayed(shape, text, slots=slots, layers=shape.n_layers)
    # Embedding them runs the first layer too.
    return whole(shape, text) + text.n_boxes * (question + slots * shape.token(slots))


def sent(shape: Shape, *, until: int) -> float:
    """Of the sender pass up to layer `until`: every head below it, one token each."""
    n, total = shape.n_heads, 0.0
    for layer in range(until):
        rows = 1 + (layer + 1) * n
        total += 2 * rows * shape.mlp + 2 * (n + 2) * shape.output
    return total


def path_patched(shape: Shape, text: Text, *, role: str, layers: Sequence[int] = ()) -> float:
    """Of path patching from all heads at `role`, for one pair: to the logits, or to receivers in
    `layers`."""
    n, total = shape.n_heads, 2 * whole(shape, text)
    if not layers:
        rows = 1 + shape.n_layers * n
        return total + sent(shape, until=shape.n_layers) + rows * shape.answer
    layers = sorted(set(layers))
    total += sent(shape, until=layers[-1])
    for below, first in pairwise([0, *layers]):
        rows = 1 + (first - below) * n if first > below else 0
        total += 2 * (1 + first * n) * shape.inputs
        total += rows * replayed(shape, text, slots=text.slots[role], layers=shape.n_layers - first)
    return total


def ablated(shape: Shape, text: Text, *, circuits: int) -> float:
    """Of `circuits` circuits alone on one prompt: a pass without attention for all of them, three
    tokens for each."""
    base = 2 * shape.n_layers * text.tokens * shape.layer
    base += text.tokens * shape.token(text.tokens)  # embedding runs the first layer too
    return base + circuits * replayed(shape, text, slots=3, layers=shape.n_layers)


def streams(shape: Shape, text: Text, *, role: str, step: int = 1) -> float:
    """Of one token's residual stream replaced at every `step`-th layer in turn, for one prompt:
    also of attention blocked from every such layer on."""
    starts = range(0, shape.n_layers + 1, step)
    return sum(
        replayed(shape, text, slots=text.slots[role], layers=shape.n_layers - first)
        for first in starts
    )


def stages(shape: Shape, text: Text, receivers: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Of each stage of a circuit's discovery for one pair: group -> operations.

    receivers: group -> layers in which its heads receive.
    """
    return {
        name: path_patched(
            shape,
            text,
            role=group.role,
            layers=() if group.receivers is None else receivers[group.receivers],
        )
        for name, group in GROUPS.items()
    }

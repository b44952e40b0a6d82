"""From a recipe's description of its data to the training examples themselves.

Every generator is a pure function of its configuration and a seed, gives the same items on every
machine, and gives the beginning of a longer list when asked for fewer: training step s always sees
the same batch."""

import random
from dataclasses import dataclass

from entrack.finetune.arithmetic_data import (
    ArithmeticData,
    NamedArithmeticData,
    arithmetic_items,
    named_arithmetic_items,
)
from entrack.finetune.boxes_data import BoxesData, boxes_items
from entrack.finetune.code_data import CodeData, code_items
from entrack.finetune.instructions_data import InstructionData, instruction_items
from entrack.finetune.item import Item


@dataclass(frozen=True)
class MixedData:
    """Several kinds of data, item by item in random order.

    Attributes:
        parts: what is mixed.
        weights: how likely each is, relative to the others.
    """

    parts: tuple["DataConfig", ...]
    weights: tuple[float, ...]


DataConfig = (
    ArithmeticData | BoxesData | CodeData | InstructionData | MixedData | NamedArithmeticData
)


def items(config: DataConfig, n: int, *, seed: int) -> list[Item]:
    """`n` training examples as `config` describes them."""
    return _GENERATORS[type(config)](config, n, seed=seed)


def mixed_items(config: MixedData, n: int, *, seed: int) -> list[Item]:
    """`n` items, each from one of the parts."""
    rng = random.Random(f"mixed {seed}")
    drawn = rng.choices(range(len(config.parts)), config.weights, k=n)
    streams = [
        iter(items(part, max(1, drawn.count(i)), seed=seed)) for i, part in enumerate(config.parts)
    ]
    return [next(streams[i]) for i in drawn]


_GENERATORS = {
    ArithmeticData: arithmetic_items,
    BoxesData: boxes_items,
    CodeData: code_items,
    InstructionData: instruction_items,
    MixedData: mixed_items,
    NamedArithmeticData: named_arithmetic_items,
}

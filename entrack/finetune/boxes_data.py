"""Training data on the task itself: what primes a `base`, and all that `boxes` is trained on."""

import random
from dataclasses import dataclass

from entrack.finetune.item import Item
from entrack.task.boxes import Example
from entrack.task.draws import scenes


@dataclass(frozen=True)
class BoxesData:
    """Prompts of the task, one per scene, from the split that no experiment uses.

    Attributes:
        n_boxes: fewest and most boxes in a scene; every number between is equally likely.
        format: the text format.
    """

    n_boxes: tuple[int, int] = (2, 7)
    format: str = "alternative"


def boxes_items(config: BoxesData, n: int, *, seed: int) -> list[Item]:
    """`n` prompts, each with a scene of its own and a queried box drawn at random."""
    rng = random.Random(f"boxes {seed}")
    low, high = config.n_boxes
    draws = [(size, rng.randrange(size)) for size in (rng.randint(low, high) for _ in range(n))]
    pools = {
        size: iter(
            scenes(sum(s == size for s, _ in draws), split="training", n_boxes=size, seed=seed)
        )
        for size in {size for size, _ in draws}
    }
    found = (Example(next(pools[size]), query, format=config.format) for size, query in draws)
    return [Item(example.text, f" {example.answer}") for example in found]

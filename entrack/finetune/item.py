"""The unit of all training data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One training example. The loss is on the answer's tokens only.

    Attributes:
        prompt: what the model reads.
        answer: what it should go on with, with the space or newline that joins the two.
    """

    prompt: str
    answer: str

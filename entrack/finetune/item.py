"""What training data is made of: its unit, and the words that several kinds of it share."""

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


WORDS = tuple(
    """
        river forest ocean storm winter summer city market station school library hospital church
    office factory museum
    north south east west left right center border first second third last
    red green blue white black yellow orange gray gold
        small large short long wide deep dark light soft hard fast slow early late quiet fresh warm
    cold dry wet
    happy strong weak simple
        open close start stop run walk jump read write draw build break move turn push pull send
    find count
    sort merge split join load save copy check search print order
    dog cat horse bird fish bear wolf lion mouse
    water milk bread rice sugar salt music story song film game science history law art
    table chair door window wall floor bridge road street train plane ship
    doctor teacher student driver writer artist king
    alpha beta gamma delta sigma omega iron glass stone sand wood paper
    number string list array vector matrix index value size width height
    """.split()
)
"""Words for training data that is not about boxes: none of them is a noun of the task.

Each is one token in SmolLM2's vocabulary, with a space before it and without one: a look-up then
ends in one token wherever the word stands, inside quotes or not. A test holds the list to both
rules."""

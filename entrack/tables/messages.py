"""Tables of messages between versions: four cells, and what they add up to.

Shares of pairs above the receiver's floor; 95 % intervals over scenes, paired."""

from collections.abc import Mapping

from entrack.cross_model.messages import BASE, CELLS, TUNED, Messages
from entrack.display.tables import Table


def cells(found: Mapping[str, Messages], *, patches: Mapping[str, str]) -> Table:
    """A row per tuned version and patch: the four scores."""
    return Table(
        [
            [f"{version}: {title}", *(messages.score(*cell, patch) for cell in CELLS)]
            for version, messages in found.items()
            for patch, title in patches.items()
        ],
        ["version and patch", *(f"{sender} to {receiver}" for sender, receiver in CELLS)],
        "Pairs on which the receiver follows the sender's message, above the receiver's floor."
        " Sender to receiver; tuned: the version of the row.",
    )


def effects(found: Mapping[str, Messages], *, patches: Mapping[str, str]) -> Table:
    """A row per tuned version and patch: effect of the message, of the reading, of agreement."""
    return Table(
        [
            [
                f"{version}: {title}",
                messages.message(patch),
                messages.reading(patch),
                messages.agreement(patch),
            ]
            for version, messages in found.items()
            for patch, title in patches.items()
        ],
        ["version and patch", "message", "reading", "agreement"],
        "What changes from base to the version: by another sender's message, by another receiver's"
        " reading, and by both being of one version.",
    )


def languages(found: Mapping[str, Messages], *, patches: Mapping[str, str]) -> Table:
    """A row per other model and patch: the reference to itself, the other to itself, both ways
    across, and the agreement.
    """
    inside, across = ((BASE, BASE), (TUNED, TUNED)), ((TUNED, BASE), (BASE, TUNED))
    return Table(
        [
            [
                f"{other}: {title}",
                *(messages.score(*cell, patch) for cell in (*inside, *across)),
                messages.agreement(patch),
            ]
            for other, messages in found.items()
            for patch, title in patches.items()
        ],
        [
            "other model and patch",
            "within the reference",
            "within the other",
            "other to reference",
            "reference to other",
            "agreement",
        ],
        "Pairs on which the receiver follows the sender's message, above the receiver's floor",
    )

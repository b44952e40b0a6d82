"""Better messages, or better reading? Interchanges between two versions of one model (ours).

The paper patches across models on one prompt (section 6), where a donor's value fetchers all but
spell the answer. Here the *sender* reads a source prompt and the *receiver* a base prompt, and the
receiver's heads are given the sender's output. Nothing of the base prompt's answer is in it: what
the receiver then says is what it made of the sender's message about the source.

With both versions in both parts there are four cells for each group. Scores are above the
receiver's own floor, so they add up exactly::

    tuned to tuned  -  base to base  =  message  +  reading

where the *message* effect is that of another sender, averaged over the receivers, and the *reading*
effect that of another receiver, averaged over the senders."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from entrack.errors import ConfigError
from entrack.model.decoder import Model
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.stats.metrics import Difference, difference
from entrack.task.counterfactual_prompts import CounterfactualPrompts

BASE, TUNED = "base", "tuned"
CELLS = tuple((sender, receiver) for receiver in (BASE, TUNED) for sender in (BASE, TUNED))
"""(sender, receiver) of the four cells."""


@dataclass(frozen=True)
class Messages:
    """Two versions' messages, read by both.

    Attributes:
        patched: cell of CELLS -> the receiver's answers with each patch taken from the sender.
        content: name of a patch -> the candidate that it should make the receiver say.
        base, tuned: names of the two versions.
    """

    patched: Mapping[tuple[str, str], Patched]
    content: Mapping[str, str]
    base: str
    tuned: str

    def score(self, sender: str, receiver: str, patch: str) -> Difference:
        """Share of pairs that answer as the content says, above the receiver's floor."""
        return self.patched[sender, receiver].above_floor(patch, self.content[patch])

    def message(self, patch: str, *, into: str | None = None) -> Difference:
        """How much more often the tuned sender's message is followed than the base's, by one
        receiver (`into`, BASE or TUNED) or on average over both. Pair by pair.
        """
        receivers = (BASE, TUNED) if into is None else (into,)
        return self._change(patch, [(TUNED, r) for r in receivers], [(BASE, r) for r in receivers])

    def reading(self, patch: str, *, of: str | None = None) -> Difference:
        """How much more often the tuned receiver follows a message than the base does, above their
        floors: the message of one sender (`of`, BASE or TUNED) or on average over both.
        """
        senders = (BASE, TUNED) if of is None else (of,)
        return self._change(patch, [(s, TUNED) for s in senders], [(s, BASE) for s in senders])

    def agreement(self, patch: str) -> Difference:
        """How much more often a message is followed by the version that sent it than by the other,
        above floors: 0 = both speak one language.
        """
        return self._change(patch, [(BASE, BASE), (TUNED, TUNED)], [(TUNED, BASE), (BASE, TUNED)])

    def _change(self, patch: str, first: list, second: list) -> Difference:
        """Mean over the cells of `first` less that over the cells of `second`."""
        above = [
            np.mean([self._above(cell, patch) for cell in cells], 0) for cells in (first, second)
        ]
        return difference(*above, clusters=self.patched[BASE, BASE].scenes)

    def _above(self, cell: tuple[str, str], patch: str) -> np.ndarray:
        return followed_more(self.patched[cell], patch, self.content[patch])


def followed_more(answers: Patched, patch: str, content: str) -> np.ndarray:
    """1, 0 or -1: answered as the content says when patched, less the same when not [example]."""
    unpatched = answers.unpatched == answers.candidates[content]
    return answers.hits(patch, content).astype(float) - unpatched


def messages(
    base: Model,
    tuned: Model,
    data: CounterfactualPrompts,
    *,
    patches: Mapping[str, Patch],
    content: Mapping[str, str],
) -> Messages:
    """The four cells of two versions for each of `patches`. Its parts are stored, so that one base
    is run once for many tuned versions.

    Args:
        content: name of a patch -> the candidate of `data` that it should make the receiver say.

    Raises:
        ConfigError: a patch without content.
        ModelError, SiteError: as `patch_pairs` does.

    Cost: as `patch_pairs`, four times; three for every further version."""
    if set(content) != set(patches):
        raise ConfigError(
            f"contents for {', '.join(content) or 'none'} and patches {', '.join(patches)}; each"
            " patch needs one. Name the candidate that each should make the model say."
        )
    models = {BASE: base, TUNED: tuned}
    return Messages(
        patched={
            (sender, receiver): patch_pairs(
                models[receiver],
                data,
                patches=patches,
                donor=None if sender == receiver else models[sender],
            )
            for sender, receiver in CELLS
        },
        content=dict(content),
        base=base.name,
        tuned=tuned.name,
    )

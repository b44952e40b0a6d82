"""What share of the gain that a donor's heads bring at the last token is the circuit's.

"Primarily" is a word about shares: all heads at the last token are handed over at once, then those
of the circuit alone (A and B), then all the others alone. Parts need not add up to the whole: what
either part can bring, both bring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell
from entrack.cross_model.cmap import CrossPatch, cross_patch
from entrack.model.decoder import Model
from entrack.sites import GROUPS, all_heads
from entrack.stats.metrics import Difference, Estimate, difference, ratio
from entrack.task.boxes import Scene
from entrack.task.draws import all_queries
from entrack.task.prompts import encode

INSIDE, REST, EVERY = "A and B", "all other heads", "all heads"
"""The parts: the circuit's heads at the last token, those outside it, and both together."""


@dataclass(frozen=True)
class AtLast:
    """One receiver with a donor's heads at the last token, on the same prompts.

    Attributes:
        patched: the answers, a cell per part.
    """

    patched: CrossPatch

    @property
    def n_heads(self) -> Mapping[str, int]:
        """Part -> number of its heads."""
        return {cell.label: sum(map(len, cell.heads.values())) for cell in self.patched.cells}

    def gain(self, part: str) -> Difference:
        """Accuracy with a part less the receiver's own, paired."""
        return self.patched.gain(part)

    def per_head(self, part: str) -> Estimate:
        """The gain of a part over the number of its heads: a mean over heads, not what one head
        brings alone.
        """
        gain, n = self.gain(part), self.n_heads[part]
        return Estimate(gain.value / n, gain.low / n, gain.high / n, gain.n)

    def share(self, part: str) -> Estimate:
        """The gain of a part over that of all heads at the last token, on the same prompts; NaN
        where these bring nothing on average. Above 1: the part alone brings more.
        """
        own = self.patched.own_hits.astype(float)
        top, bottom = (self.patched.hits[self.patched.index(p)] - own for p in (part, EVERY))
        return ratio(top, bottom, clusters=self.patched.scenes)

    def over_rest(self) -> Difference:
        """Accuracy with the circuit's heads less that with all the others, paired."""
        inside, rest = (self.patched.hits[self.patched.index(p)] for p in (INSIDE, REST))
        return difference(inside, rest, clusters=self.patched.scenes)


def at_last(
    donor: Model,
    receiver: Model,
    circuit: Circuit,
    *,
    scenes: Sequence[Scene],
) -> AtLast | None:
    """Hand over the circuit's heads at the last token (A and B), all the others there, and all.
    Stored. None where the circuit has no head at the last token, or every one.

    Args:
        scenes: every box of each is asked for.

    Raises as `cross_patch` does. Cost: one token per prompt and part, and a run of both models.
    Source: ours."""
    role = GROUPS["value_fetcher"].role
    every, inside = all_heads(receiver.n_layers, receiver.n_heads), circuit.at(role)
    rest = tuple(head for head in every if head not in inside)
    if not inside or not rest:
        return None
    parts = {INSIDE: tuple(sorted(inside)), REST: rest, EVERY: tuple(every)}
    cells = [Cell(label, {role: heads}) for label, heads in parts.items()]
    prompts = encode(receiver.tokenizer, all_queries(scenes))
    return AtLast(cross_patch(donor, receiver, prompts, cells=cells))

"""The table of circuits in many versions beside what they are held against.

Intervals are 95 %."""

from collections.abc import Mapping, Sequence

from entrack.across.bounds import Bounded
from entrack.display.tables import Table
from entrack.stats.metrics import difference


def bounds(found: Mapping[str, Bounded], *, owners: Sequence[str]) -> Table:
    """A column per version: how much more accurate than the first circuit there are every other
    circuit, all heads at its tokens, random heads of its layers and from anywhere, and the whole.

    owners: the version that each circuit was searched in, in the order of the scores.
    """
    rows: list[list] = [
        [f"{owners[0]}'s circuit itself", *(b.scores.accuracy() for b in found.values())]
    ]
    more = {f"{o}'s circuit": lambda b, i=i: b.scores.hits[i] for i, o in enumerate(owners) if i}
    more |= {
        "all heads at the same tokens": lambda b: b.ceiling,
        "random heads of the same layers": lambda b: b.floor.mean(0),
        "random heads": lambda b: b.scores.random.mean(0),
        "whole version": lambda b: b.scores.full,
    }
    for name, hits in more.items():
        changes = (difference(hits(b), b.scores.hits[0]) for b in found.values())
        rows.append([f"{name}, more", *changes])
    return Table(
        rows,
        ["heads kept", *(f"in {version}" for version in found)],
        f"Accuracy of the circuit of {owners[0]} alone in every version, and how much more other"
        " heads have there (paired, same prompts)",
    )

"""The heads that many searches found: how often each, and how many two searches share, beside
chance.

A search is one circuit that a run of a sweep names (`records.HEADS`). Chance keeps the layers:
heads of one kind sit in certain layers in any model, so what is asked is whether the same heads of
a layer were found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entrack.circuit.overlap import Excess
from entrack.errors import DataError
from entrack.sites import GROUPS, Head
from entrack.sweep.stability import Column, edition_of

N_DRAWS = 2000
"""Shuffles behind a p-value."""
_LETTERS = {group.letter: name for name, group in GROUPS.items()}


@dataclass(frozen=True)
class Search:
    """One search for a circuit.

    Attributes:
        column: lineage, seed of the prompts and edition of its run.
        version: the model that was searched.
        groups: {group: its heads}, all four groups.
    """

    column: Column
    version: str
    groups: Mapping[str, frozenset[Head]]

    def __str__(self) -> str:
        return f"{self.column}: {self.version}"


@dataclass(frozen=True)
class Shared:
    """What two searches have in common, over one group or several.

    Attributes:
        shared: heads that both found, counted in each group.
        by_chance: heads expected in both if each head of the second stood at a random place of its
            layer.
        most: heads that both can have at most, the smaller number of each group.
        p_value: chance of at least `shared`, over `N_DRAWS` such draws; NaN where `most` is 0.
    """

    shared: int
    by_chance: float
    most: int
    p_value: float

    @property
    def share(self) -> float:
        """Shared heads over the most that there can be: 1 = all heads of the smaller search are in
        the other; NaN where one of the two found none.
        """
        return self.shared / self.most if self.most else float("nan")

    @property
    def chance_share(self) -> float:
        """The same of the heads expected by chance."""
        return self.by_chance / self.most if self.most else float("nan")

    @property
    def excess(self) -> Excess:
        """Shared heads less those expected by chance."""
        more = self.shared - self.by_chance
        return Excess(more, more, more, self.most, p_value=self.p_value)


def searches(collected: Mapping) -> list[Search]:
    """Every circuit that the runs name, in their order.

    collected: what `records.stable` gave. Raises DataError for words that are no circuit."""
    found: dict[tuple[Column, str], Search] = {}
    for name, run in collected["runs"].items():
        given = run["parameters"]
        column = Column(str(given.get("family", "")), given.get("seed"), edition_of(name))
        for text in run.get("heads", {}).values():
            for version, groups in read_heads(text).items():
                found.setdefault((column, version), Search(column, version, groups))
    return list(found.values())


def read_heads(text: str) -> dict[str, dict[str, frozenset[Head]]]:
    """{version: {group: heads}} of what `tables.circuit.heads_by_name` wrote; none of a text that
    names no head. Raises DataError where a circuit lacks a group.
    """
    found = {}
    for part in filter(lambda part: ": " in part, text.split("; ")):
        version, _, told = part.partition(": ")
        groups = {}
        for item in told.split(", "):
            letter, *heads = item.split()
            kept = [] if heads == ["-"] else heads
            groups[_LETTERS.get(letter, letter)] = frozenset(map(Head.parse, kept))
        if set(groups) != set(GROUPS):
            raise DataError(
                f"a circuit of {version} names the groups {', '.join(groups)}; a circuit has"
                f" {', '.join(GROUPS)}. Run its chapter again."
            )
        found[version.rpartition("/")[2]] = groups
    return found


def shared(
    first: Search,
    second: Search,
    *,
    heads_per_layer: int,
    groups: Sequence[str] = tuple(GROUPS),
    seed: int = 0,
) -> Shared:
    """Compare two searches over `groups`; `heads_per_layer` of the model that both searched."""
    generator = np.random.default_rng(seed)
    common, expected, most = 0, 0.0, 0
    drawn = np.zeros(N_DRAWS)
    for group in groups:
        a, b = first.groups[group], second.groups[group]
        common, most = common + len(a & b), most + min(len(a), len(b))
        in_first, in_second = (Counter(head.layer for head in heads) for heads in (a, b))
        for layer in {*in_first} & {*in_second}:
            n, m = in_first[layer], in_second[layer]
            expected += n * m / heads_per_layer
            drawn += generator.hypergeometric(n, heads_per_layer - n, m, size=N_DRAWS)
    p_value = (1 + (drawn >= common).sum()) / (1 + N_DRAWS) if most else float("nan")
    return Shared(common, expected, most, float(p_value))


def times_found(found: Sequence[Search], group: str) -> dict[Head, list[Search]]:
    """{head: the searches that found it in this group}, the most often found first, then by
    layer.
    """
    heads = sorted({head for search in found for head in search.groups[group]})
    where = {head: [search for search in found if head in search.groups[group]] for head in heads}
    return dict(sorted(where.items(), key=lambda item: -len(item[1])))

"""Where things happen in the network: attention heads, and the four groups that the paper sorts
them into.

The circuit, read backwards from the answer (paper, section 4.1). Each group is found by what it
sends to the one before:

    A value fetcher         at the last token      -> the logits         names the object
    B position transmitter  at the last token      -> queries of A       says where to look
    C position detector     at the query label     -> values of B        works out the position
    D structure reader      after the earlier label -> values of C       reads the segment of the
    queried box

The paper finds D in Llama at the earlier mention of the queried label itself. In SmolLM2 it is one
token later, at what follows that mention (chapter 3 measures it); `Circuit.structure_role` says
which of the two a circuit means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from entrack.errors import SiteError

COMPOSITIONS = ("logits", "q", "k", "v")
ACTING_ROLES = ("prev_query_label", "after_prev_query_label", "query_label", "last")
"""The token roles at which heads of a group may act, in the order of the text."""
STRUCTURE_ROLES = ACTING_ROLES[:2]
"""Where structure readers may act: in Llama, according to the paper, and in SmolLM2."""


@dataclass(frozen=True, order=True)
class Head:
    """One attention head. Layer and head count from 0; heads sort by layer, then by head.

    `str(Head(14, 7))` is `"14.7"`, and `Head.parse("14.7")` gives it back.
    """

    layer: int
    head: int

    def __post_init__(self) -> None:
        if self.layer < 0 or self.head < 0:
            raise SiteError(
                f"head {self.layer}.{self.head}; layers and heads count from 0. Use numbers of 0 or"
                " more."
            )

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """The head that `text` names. Raises SiteError unless it reads "<layer>.<head>"."""
        match = re.fullmatch(r"(\d+)\.(\d+)", text.strip())
        if match is None:
            raise SiteError(
                f"head {text!r}; a head is written <layer>.<head>. Write it like '14.7'."
            )
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Group:
    """One of the four head groups.

    Attributes:
        letter: "A" to "D", counted back from the answer.
        name: key in GROUPS.
        title: the name in prose.
        role: the token role at which the group's heads act.
        receivers: name of the group whose inputs this one feeds; None for A, which feeds the
            logits.
        composition: which input of the receivers is fed: "q" or "v"; "logits" for A.
        carries: what the group passes on, according to the paper (section 5.2).
    """

    letter: str
    name: str
    title: str
    role: str
    receivers: str | None
    composition: str
    carries: str


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        group.name: group
        for group in (
            Group("A", "value_fetcher", "Value fetcher", "last", None, "logits", "the object"),
            Group(
                "B",
                "position_transmitter",
                "Position transmitter",
                "last",
                "value_fetcher",
                "q",
                "the position",
            ),
            Group(
                "C",
                "position_detector",
                "Position detector",
                "query_label",
                "position_transmitter",
                "v",
                "the position",
            ),
            Group(
                "D",
                "structure_reader",
                "Structure reader",
                "after_prev_query_label",
                "position_detector",
                "v",
                "the segment",
            ),
        )
    }
)
"""The four groups by name, in the order in which they are discovered (A to D)."""


def group(name: str) -> Group:
    """The group with this name or letter. Raises SiteError for any other text."""
    for candidate in GROUPS.values():
        if name in (candidate.name, candidate.letter):
            return candidate
    known = ", ".join(f"{g.letter} {g.name}" for g in GROUPS.values())
    raise SiteError(f"unknown head group {name!r}; the groups are {known}. Use a name or a letter.")


def all_heads(n_layers: int, n_heads: int) -> tuple[Head, ...]:
    """Every head of a model of this size, by layer, then by head."""
    return tuple(Head(layer, head) for layer in range(n_layers) for head in range(n_heads))


def check_heads(heads: Iterable[Head], n_layers: int, n_heads: int) -> tuple[Head, ...]:
    """The heads as a tuple, in the order given, once each is known to exist in a model of this
    size.

    Raises SiteError for the first head that the model does not have.
    """
    checked = tuple(heads)
    for head in checked:
        if head.layer >= n_layers or head.head >= n_heads:
            raise SiteError(
                f"no head {head}; this model has {n_layers} layers of {n_heads} heads, counted from"
                f" 0. Use a layer up to {n_layers - 1} and a head up to {n_heads - 1}."
            )
    return checked

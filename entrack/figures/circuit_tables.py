"""Rows of the tables about a circuit and its search. They list; nothing is computed here."""

from collections.abc import Mapping, Sequence

from entrack.circuit.attention import HeadAttention
from entrack.circuit.live_positions import LivePositions
from entrack.circuit.search import FoundCircuit
from entrack.circuits import Circuit
from entrack.display.style import ROLE_WORDS
from entrack.figures.circuit import target
from entrack.model.sites import GROUPS
from entrack.patching.path_patching import HeadScores


def live_rows(live: LivePositions) -> list[list]:
    """Set of live tokens, accuracy, mean log probability of the answer in nats."""
    return [[name, live.accuracy(name), live.mean_log_prob(name)] for name in live.hits]


def strongest_rows(scores: HeadScores, *, n: int = 5) -> list[list]:
    """Head, its effect on the pair where it is most negative, on average, and where it is most
    positive, and on how many pairs it is negative; the `n` strongest heads.
    """
    rows = []
    for head in scores.ranked()[:n]:
        effects = scores.values[head.layer, head.head]
        mean = scores.estimate(head).value
        losses = int((effects < 0).sum())
        rows.append([str(head), float(effects.min()), mean, float(effects.max()), losses])
    return rows


def stage_rows(found: FoundCircuit, *, n: int = 4) -> list[list]:
    """Group and head, the token where it acts, its mean effect, and the path that was measured; the
    `n` strongest heads of each stage.
    """
    return [
        [
            f"{group.letter} {head}",
            ROLE_WORDS[found.circuit.role(name)],
            f"{found.discovery.scores[name].estimate(head):+.2f}",
            target(found.discovery, name),
        ]
        for name, group in GROUPS.items()
        for head in found.discovery.scores[name].ranked()[:n]
    ]


def group_rows(found: FoundCircuit) -> list[list]:
    """Group, the token where it acts, number of candidates, number of heads kept, the kept heads,
    and those of the four strongest that pruning dropped.
    """
    return [
        [
            f"{group.letter} {group.title}",
            ROLE_WORDS[found.circuit.role(name)],
            len(found.curve.circuit.groups[name]),
            len(found.circuit.groups[name]),
            _some(found.kept(name)),
            _some(found.dropped(name)),
        ]
        for name, group in GROUPS.items()
    ]


def attention_rows(looks: Sequence[HeadAttention]) -> list[list]:
    """Group and head, the token from which it looks, the one that its group should read, and the
    share of attention that it gives to that one.
    """
    return [
        [look.name, ROLE_WORDS[look.role], ROLE_WORDS[look.wanted], look.to(look.wanted)]
        for look in looks
    ]


def median_rows(circuits: Mapping[str, tuple[Circuit, int]]) -> list[list]:
    """Model, its number of layers, and the median layer of the heads of D, C, B and A; "-" for a
    group without heads.
    """
    return [
        [title, n_layers, *(_median(circuit, name) for name in reversed(GROUPS))]
        for title, (circuit, n_layers) in circuits.items()
    ]


def _median(circuit: Circuit, group: str) -> str:
    return f"{circuit.median_layer(group):g}" if circuit.groups[group] else "-"


def _some(heads: Sequence, *, at_most: int = 12) -> str:
    """The first heads in words; "-" for none."""
    told = " ".join(map(str, heads[:at_most])) or "-"
    return f"{told} …" if len(heads) > at_most else told

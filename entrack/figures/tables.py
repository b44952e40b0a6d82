"""Results as rows of tables: of the search for a circuit, and of what one version gains from
another. Nothing is computed here.

None is "not run here", "-" is "there is none"."""

from collections.abc import Mapping, Sequence

from entrack.circuit.contents import ContentChange
from entrack.circuit.live_positions import LivePositions
from entrack.circuit.search import FoundCircuit, HeadAttention
from entrack.circuits import Circuit
from entrack.cross_model.cmap_suite import Exchange
from entrack.cross_model.weight_swap import MATRICES, UpdateNorms
from entrack.display.style import ROLE_WORDS
from entrack.figures.circuit import target
from entrack.figures.improved import OTHERS, ordered
from entrack.patching.head_scores import HeadScores
from entrack.sites import GROUPS

GAINS = ["patched", "accuracy", "gain", "p", "random heads", OTHERS, "log probability (nats)"]
LOSSES = ["patched", "accuracy", "change", "p", "random heads", OTHERS, "share of the gap"]
CELLS = ["patched", "accuracy", "gain", "p", "log probability (nats)"]
INPUTS = ["group", "output z", "q and k together", "v alone"]
OWN = ["patched", "receiver's circuit", "heads", "donor's circuit", "heads"]
CHANGES = ["group", "content", "score before", "score after", "change", "gain in accuracy"]
NORMS = ["update", "all heads", *[g.letter for g in GROUPS.values()]]


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


def gain_rows(exchanges: Sequence[Exchange]) -> list[list]:
    """What each group brings to the receiver, beside its controls: rows of GAINS."""
    return [
        [*_patched(found, label), *_controls(found, label), found.of(label).log_prob_gain(label)]
        for found in exchanges
        for label in ordered(found)
    ]


def loss_rows(exchanges: Sequence[Exchange]) -> list[list]:
    """The same, with the share of the gap from receiver to donor: rows of LOSSES."""
    return [
        [*_patched(found, label), *_controls(found, label), _share(found, label)]
        for found in exchanges
        for label in ordered(found)
    ]


def cell_rows(found: Exchange) -> list[list]:
    """Every cell of one exchange but its controls: rows of CELLS."""
    controls = ("random", "all others")
    return [
        [label, *_patched(found, label)[1:], found.of(label).log_prob_gain(label)]
        for label in found.all_labels()
        if not label.startswith(controls)
    ]


def input_rows(found: Exchange) -> list[list]:
    """Gain in log probability from A's and B's outputs, and from their inputs: rows of INPUTS."""
    return [
        [
            letter,
            *(found.near.log_prob_gain(x) for x in (letter, f"qk of {letter}", f"v of {letter}")),
        ]
        for letter in "AB"
        if letter in found.letters()
    ]


def own_rows(usual: Mapping[str, Exchange], own: Mapping[str, Exchange]) -> list[list]:
    """Gains with the heads of the receiver's circuit (`usual`) and with those of the donor's `own`:
    rows of OWN.
    """
    rows = []
    for version, theirs in own.items():
        ours = usual[version]
        for letter in (x for x in "ABC" if x in theirs.letters() and x in ours.letters()):
            pair = [(found.gain(letter), found.n_heads(letter)) for found in (ours, theirs)]
            rows.append([f"{version}: {letter}", *pair[0], *pair[1]])
    return rows


def change_rows(changes: Sequence[ContentChange]) -> list[list]:
    """What groups carry, and what they bring: rows of CHANGES."""
    return [
        [f"{c.version}: {c.letter}", c.content, c.before, c.after, c.change, c.gain]
        for c in changes
    ]


def norm_rows(norms: Mapping[str, UpdateNorms], circuit: Circuit) -> list[list]:
    """Mean relative size of each update, over all heads and over each group: rows of NORMS."""
    rows = []
    for version, found in norms.items():
        means = [found.mean_relative(heads) if heads else None for heads in circuit.groups.values()]
        for i, matrix in enumerate(MATRICES):
            groups = ["-" if mean is None else mean[i] for mean in means]
            rows.append([f"{version}: W_{matrix.upper()}", found.mean_relative()[i], *groups])
    return rows


def p_words(p: float) -> str:
    """A p-value in as many digits as it deserves."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.2f}" if p >= 0.01 else f"{p:.3f}"


def _patched(found: Exchange, label: str) -> list:
    gain = found.gain(label)
    name = f"{found.title}: {label}"
    return [name, found.of(label).accuracy(label), gain, p_words(gain.p_value)]


def _controls(found: Exchange, label: str) -> list:
    if len(label) > 1:
        return ["-", "-"]
    others = found.others(label)
    return [found.random_gain(label) or "-", found.gain(others) if others else "-"]


def _share(found: Exchange, label: str) -> str:
    share = found.closed(label)
    return "-" if share is None else f"{share:.0%}"


def _median(circuit: Circuit, group: str) -> str:
    return f"{circuit.median_layer(group):g}" if circuit.groups[group] else "-"


def _some(heads: Sequence, *, at_most: int = 12) -> str:
    """The first heads in words; "-" for none."""
    told = " ".join(map(str, heads[:at_most])) or "-"
    return f"{told} …" if len(heads) > at_most else told

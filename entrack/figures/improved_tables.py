"""Tables of what improved: results as rows. Nothing is computed here.

A row begins with who gives to whom and what is patched; None is "not run here", "-" is "there is
none"."""

from collections.abc import Mapping, Sequence

from entrack.circuit.contents import ContentChange
from entrack.circuits import Circuit
from entrack.figures.improved import OTHERS, ordered
from entrack.model.sites import GROUPS
from entrack.patching.cmap_suite import Exchange
from entrack.patching.weight_swap import MATRICES, UpdateNorms

GAINS = ["patched", "accuracy", "gain", "p", "random heads", OTHERS, "log probability (nats)"]
LOSSES = ["patched", "accuracy", "change", "p", "random heads", OTHERS, "share of the gap"]
CELLS = ["patched", "accuracy", "gain", "p", "log probability (nats)"]
INPUTS = ["group", "output z", "q and k together", "v alone"]
OWN = ["patched", "receiver's circuit", "heads", "donor's circuit", "heads"]
CHANGES = ["group", "content", "score before", "score after", "change", "gain in accuracy"]
NORMS = ["update", "all heads", *[g.letter for g in GROUPS.values()]]


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

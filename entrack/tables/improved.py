"""Tables of what improved: what one version gains from the activations or weights of another.

None is "not run here", "-" is "there is none". Intervals are 95 %, over scenes."""

import math
from collections.abc import Callable, Mapping, Sequence

from entrack.circuit.contents import ContentChange
from entrack.circuits import Circuit
from entrack.cross_model.at_last import EVERY, INSIDE, REST, AtLast
from entrack.cross_model.cmap_suite import CMAP
from entrack.cross_model.matched import EFFECT, LAYERS, UPDATE, Matched, SharedOut
from entrack.cross_model.weight_swap import MATRICES, UpdateNorms
from entrack.display.tables import Table
from entrack.figures.improved import OTHERS, ordered
from entrack.paper import findings, published
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate

CONTROLS = ["random heads", OTHERS]


def donors(cmaps: Mapping[str, CMAP]) -> Table:
    """Each donor alone, on the prompts of its CMAP; all give to one receiver."""
    first = next(iter(cmaps.values()))
    base = _receiver(first)
    return Table(
        [[v, found.near.donor_accuracy(), found.edge()] for v, found in cmaps.items()],
        ["version", "accuracy", f"less that of {base}"],
        f"The donors alone, on the same prompts as {base}, which has"
        f" {first.near.own_accuracy():.2f}.",
    )


def gains(cmaps: Sequence[CMAP]) -> Table:
    """What each group of each donor brings to one receiver, beside its controls."""
    base = _receiver(cmaps[0])
    return Table(
        _by_group(cmaps, _log_prob),
        ["patched", "accuracy", "gain", "p", *CONTROLS, "log probability (nats)"],
        f"The version {base} with heads of each fine-tuned version. Gains over {base} alone are"
        " paired, with 95 % intervals over scenes; p: sign test over scenes. Last: gain in the"
        " right answer's log probability.",
    )


def shares_at_last(found: Mapping[str, AtLast]) -> Table:
    """A row per donor and part of the heads at the last token: their number, gain, gain per head,
    and the share of what all heads there bring; then A and B less all the others, paired.
    """
    rows: list[list] = []
    for version, last in found.items():
        for part in (INSIDE, REST, EVERY):
            each, share = last.per_head(part).value, "-" if part == EVERY else last.share(part)
            numbers = [last.n_heads[part], last.gain(part), f"{each:+.4f}", share]
            rows.append([f"{version}: {part}", *numbers])
        rows.append([f"{version}: {INSIDE} less {REST}", "-", last.over_rest(), "-", "-"])
    return Table(
        rows,
        ["patched at the last token", "heads", "gain", "gain per head", "share of the whole gain"],
        "What the circuit's heads at the last token bring, and what all the others there bring, as"
        " a share of what all heads at this token bring; 95 % intervals over scenes. Shares need"
        " not add up to 1.",
    )


def shared_out(found: Mapping[str, AtLast]) -> Table:
    """A row per donor: what A and B bring alone, what they add to all the others, their share of
    the whole gain, and that of the heads.
    """
    rows = []
    for version, last in found.items():
        shares = SharedOut(last)
        numbers = (shares.alone(), shares.on_top(), shares.share())
        alone, on_top, share = (_or_dash(number) for number in numbers)
        rows.append([version, alone, on_top, share, shares.share_of_heads()])
    return Table(
        rows,
        ["donor", "alone", "on top of the others", "share", "share of the heads"],
        "How much of the gain of all heads at the last token is of A and B: alone, on top of all"
        " the others, and the mean of the two, with which the shares of both parts add up to 1;"
        " 95 % intervals over scenes.",
    )


def matched(found: Mapping[str, Matched]) -> Table:
    """A row per donor, group and kind of control: their gains, and the difference, paired."""
    names = {LAYERS: "same layers", UPDATE: "norm of update", EFFECT: "size of effect"}
    rows = []
    for version, controls in found.items():
        for (letter, kind), (ours, theirs) in controls.levels.items():
            n, more = controls.n_heads(letter), controls.over(letter, kind)
            gains = [controls.patched.gain(letter), controls.control_gain(letter, kind)]
            rows.append(
                [f"{version}: {letter}, {names[kind]}", n, f"{ours:.3g}; {theirs:.3g}", *gains]
                + [more, f"{more.value / n:+.4f}"]
            )
    return Table(
        rows,
        ["group, matched in", "heads", "group; control", "gain", "of control", "less", "per head"],
        "Groups beside as many heads outside the circuit at the same token, that are like them in"
        " one respect: their layers (random draws), how much fine-tuning changed them, or how much"
        " effect they had in the search. Third: its mean (layer, norm, log odds) over the group and"
        " over the control. Gains in accuracy and their difference, paired; 95 % intervals over"
        " scenes.",
    )


def losses(cmaps: Sequence[CMAP]) -> Table:
    """What each group of one donor changes in each receiver, and the share of the gap from receiver
    to donor that it closes.
    """
    base = cmaps[0].near.donor.rpartition("/")[2]
    return Table(
        _by_group(cmaps, _share),
        ["patched", "accuracy", "change", "p", *CONTROLS, "share of the gap"],
        f"Fine-tuned versions with heads of {base}: accuracy and its change, with 95 % intervals"
        " and the sign test over scenes. Last: the share of the gap to base that closes. Where a"
        " version is better than base, that is the share of its gain that goes.",
    )


def published_gains() -> Table:
    """The paper's Figure 4."""
    return Table(
        [
            [
                f"{findings.title(donor)}: {GROUPS[p].letter if p in GROUPS else 'full circuit'}",
                cell.accuracy,
                f"{findings.cmap_gains(p)[findings.title(donor)]:+.2f}",
                cell.heads or "all groups",
            ]
            for donor, parts in published.cmap().values.items()
            for p, cell in parts.items()
        ],
        ["donor: patched", "accuracy of Llama", "gain", "heads"],
        "The paper's Figure 4: Llama-7B with heads of Goat and FLoat. " + published.cmap().note,
    )


def own_circuits(usual: Mapping[str, CMAP], own: Mapping[str, CMAP]) -> Table:
    """Gains with the heads of the receiver's circuit (`usual`), and with those of the donor's
    `own`, for the groups that both have.
    """
    rows = []
    for version, theirs in own.items():
        ours = usual[version]
        for letter in (x for x in "ABC" if x in theirs.letters() and x in ours.letters()):
            pair = [(found.gain(letter), found.n_heads(letter)) for found in (ours, theirs)]
            rows.append([f"{version}: {letter}", *pair[0], *pair[1]])
    base = _receiver(next(iter(usual.values())))
    return Table(
        rows,
        ["patched", "receiver's circuit", "heads", "donor's circuit", "heads"],
        f"Gain in accuracy of {base} with the donor's outputs in the heads of the receiver's own"
        " circuit, and in those of the donor's; 95 % intervals over scenes.",
    )


def inputs(found: CMAP) -> Table:
    """Gain in log probability from A's and B's outputs, and from their inputs."""
    donor, base = found.near.donor.rpartition("/")[2], _receiver(found)
    rows = [
        [x, *(found.near.log_prob_gain(cell) for cell in (x, f"qk of {x}", f"v of {x}"))]
        for x in "AB"
        if x in found.letters()
    ]
    return Table(
        rows,
        ["group", "output z", "q and k together", "v alone"],
        f"Where the gain from {donor} lies: in where the heads of {base} look (q and k together),"
        " or in what they find there (v). Gain in log probability (nats), 95 % intervals over"
        " scenes.",
    )


def published_inputs() -> Table:
    """Goat's q, k and v in Llama, from earlier commits of the released code."""
    earlier, alone = published.cmap_earlier(), published.table1().values[findings.RECEIVER].full
    return Table(
        [
            [f"{GROUPS[group].letter}: {kinds}", accuracy]
            for group, cells in earlier.values["input"].items()
            for kinds, accuracy in cells.items()
        ],
        ["group: input", "accuracy of Llama with Goat's input"],
        f"Input patching from Goat into Llama-7B, {earlier.unit}, from earlier commits of the"
        f" released code; as far as we saw, not in the paper. Llama alone: {alone:.2f}.",
    )


def contents(changes: Sequence[ContentChange], *, base: str) -> Table:
    """What groups carry in `base` and in each version, and what they bring to it."""
    return Table(
        [
            [f"{c.version}: {c.letter}", c.content, c.before, c.after, c.change, c.gain]
            for c in changes
        ],
        ["group", "content", "score before", "score after", "change", "gain in accuracy"],
        f"What the groups of the circuit of {base} carry, in {base} (before) and in each version"
        " (after), beside the gain that they bring to it; 95 % intervals over scenes.",
    )


def cells(found: CMAP) -> Table:
    """Every cell of one CMAP but its controls."""
    controls = ("random", "all others")
    return Table(
        [
            [label, *_patched(found, label)[1:], _log_prob(found, label)]
            for label in found.all_labels()
            if not label.startswith(controls)
        ],
        ["patched", "accuracy", "gain", "p", "log probability (nats)"],
        f"{found.title}: what groups, and the q, k and v of A and B, bring.",
    )


def updates(norms: Mapping[str, UpdateNorms], circuit: Circuit) -> Table:
    """Mean relative size of each update, over all heads and over each group's."""
    rows = []
    for version, found in norms.items():
        means = [found.mean_relative(heads) if heads else None for heads in circuit.groups.values()]
        for i, matrix in enumerate(MATRICES):
            groups = ["-" if mean is None else mean[i] for mean in means]
            rows.append([f"{version}: W_{matrix.upper()}", found.mean_relative()[i], *groups])
    return Table(
        rows,
        ["update", "all heads", *(group.letter for group in GROUPS.values())],
        "Mean relative size of the update (its Frobenius norm over that of the weight), over all"
        " heads and over each group's.",
        digits=3,
    )


def _or_dash(estimate: Estimate) -> Estimate | str:
    return "-" if math.isnan(estimate.value) else estimate


def _receiver(found: CMAP) -> str:
    return found.near.receiver.rpartition("/")[2]


def _by_group(cmaps: Sequence[CMAP], last: Callable[[CMAP, str], object]) -> list[list]:
    """A row per CMAP and cell: accuracy, change and controls, and what `last` says of it."""
    return [
        [*_patched(found, label), *_controls(found, label), last(found, label)]
        for found in cmaps
        for label in ordered(found)
    ]


def _patched(found: CMAP, label: str) -> list:
    gain = found.gain(label)
    name = f"{found.title}: {label}"
    return [name, found.of(label).accuracy(label), gain, _p_words(gain.p_value)]


def _p_words(p: float) -> str:
    """A p-value in as many digits as it deserves."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.2f}" if p >= 0.01 else f"{p:.3f}"


def _controls(found: CMAP, label: str) -> list:
    if len(label) > 1:
        return ["-", "-"]
    others = found.others(label)
    return [found.random_gain(label) or "-", found.gain(others) if others else "-"]


def _log_prob(found: CMAP, label: str):
    return found.of(label).log_prob_gain(label)


def _share(found: CMAP, label: str) -> str:
    share = found.closed(label)
    return "-" if share is None else f"{share:.0%}"

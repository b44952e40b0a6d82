"""Tables of one circuit in many versions: faithfulness, shared heads, pruning, completeness.

Intervals are 95 %. "-" is "there is none"."""

from collections.abc import Mapping, Sequence

from entrack.circuit.completeness import Completeness
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.minimality import Minimality
from entrack.circuit.overlap import STRONGEST, Likeness, Overlap
from entrack.display.tables import Table
from entrack.heads.bounds import Bounded
from entrack.paper import published
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, difference, rate

PRUNED = {
    "both_at_1_percent": "both pruned at 1 %",
    "candidates": "neither pruned",
    "both_at_0_percent": "both pruned at 0 %",
}
PAIRS = {"llama_goat": "Llama and Goat", "llama_float": "Llama and FLoat"}


def faithfulness(scores: Mapping[str, Faithfulness]) -> Table:
    """The paper's Table 1: a row per version with the accuracy of the whole, of the first circuit
    alone and of random circuits, and faithfulness.
    """
    rows = []
    for name, score in scores.items():
        share = score.faithfulness() if score.full.any() else "undefined"
        accuracies = [score.full_accuracy(), score.accuracy(), score.random_accuracy()]
        rows.append([name, *accuracies, share])
    return Table(
        rows,
        ["version", "whole", "circuit", "random circuits", "faithfulness"],
        "The circuit alone in every version, as in the paper's Table 1",
    )


def gaps(scores: Mapping[str, Faithfulness], *, base: str) -> Table:
    """A row per version: accuracy of the first circuit less that of the whole, with the p-value of
    no difference, less that of the same circuit in `base`, and less that of the whole `base`, all
    on the same prompts.
    """
    rows = []
    for name, score in scores.items():
        gap = difference(score.hits[0], score.full)
        change = "-" if name == base else difference(score.hits[0], scores[base].hits[0])
        over = difference(score.hits[0], scores[base].full)
        rows.append([name, gap, f"{gap.p_value:.2g}", change, over])
    return Table(
        rows,
        [
            "version",
            "circuit less whole",
            "p",
            "circuit less that in the reference",
            "circuit less whole reference",
        ],
        "Differences in accuracy, on the same prompts",
    )


def published_table1() -> Table:
    """The paper's own Table 1."""
    titles = _titles()
    return Table(
        [[titles[name], *row] for name, row in published.table1().values.items()],
        ["model", "whole model", "Llama circuit (72)", "random circuit", "faithfulness"],
        "The paper's Table 1: the Llama circuit alone, accuracy on 500 prompts, no intervals",
    )


def published_cross() -> Table:
    """Accuracy of the paper's circuits in its four models, as far as released."""
    models = _titles()
    circuits = {**models, "llama_enlarged_175": "Llama-7B, enlarged to 175 heads"}
    return Table(
        [
            [circuits[circuit], *(row[m][0] if m in row else "not released" for m in models)]
            for circuit, row in published.cross_evaluation().values.items()
        ],
        ["circuit of", *(f"in {title}" for title in models.values())],
        "The paper's circuits alone in the 7B models: accuracy on 500 prompts, as released",
    )


def own_circuits(scores: Mapping[str, Faithfulness], *, owners: Sequence[str]) -> Table:
    """Per version whose own circuit was searched: the accuracy there of its own circuit and of the
    first one, and their paired difference.
    """
    return Table(
        [
            [
                owner,
                scores[owner].accuracy(i),
                scores[owner].accuracy(0),
                difference(scores[owner].hits[i], scores[owner].hits[0]),
            ]
            for i, owner in enumerate(owners)
            if i
        ],
        ["version", "its own circuit", "circuit of the reference", "difference"],
        "Accuracy of both circuits in the version whose own was searched, on the same prompts",
    )


def overlap(
    counts: Mapping[str, Sequence[Overlap]],
    correlations: Mapping[str, Mapping[str, Estimate | None]],
    *,
    base: str,
) -> Table:
    """A row per version and group: heads in either circuit, shared, by chance, p and the rank
    correlation of the score maps (version -> group -> it; None where too few heads have a score).
    """
    rows = []
    for version, overlaps in counts.items():
        for o in overlaps:
            group, correlation = GROUPS[o.group], correlations[version][o.group]
            told = "too few heads" if correlation is None else correlation.value
            name = f"{version}: {group.letter} {group.title}"
            rows.append([name, o.first, o.second, o.shared, o.by_chance, f"{o.p_value:.1g}", told])
    return Table(
        rows,
        ["version and group", base, "own", "shared", "by chance", "p", "rank correlation"],
        "Heads that each version's own circuit shares with that of the reference, per group",
    )


def published_overlap() -> Table:
    """Heads that the 7B circuits share, by how both were pruned."""
    return Table(
        [
            [f"{PAIRS[pair]}, {PRUNED[pruning]}", *groups["all"]]
            for pruning, by_pair in published.overlap_by_threshold().values.items()
            for pair, groups in by_pair.items()
        ],
        ["pair and pruning", "heads in Llama", "in the other", "shared"],
        "Overlap in the 7B family had both circuits been pruned alike",
    )


def minimality(found: Minimality) -> Table:
    """Per group: candidates, those kept by the score, of these those that clearly cost accuracy,
    those kept by leave-one-out (the interval of the answer's log probability lies above 0), and
    those kept by score and leave-one-out.
    """
    rows = []
    for name, group in GROUPS.items():
        heads = found.circuit.groups[name]
        kept = set(found.pruned().groups[name])
        plain = {h for h in heads if found.leave_one_out(name, h).low > 0}
        clear = len(found.clear().groups[name])
        counts = [len(heads), len(kept), clear, len(plain), len(kept & plain)]
        rows.append([f"{group.letter} {group.title}", *counts])
    return Table(
        rows,
        [
            "group",
            "candidates",
            "kept by the paper's score",
            "of these, clear",
            "kept by leave-one-out",
            "by score and leave-one-out",
        ],
        "Heads that the paper's score keeps, and those that leave-one-out would keep",
    )


def completeness(found: Completeness) -> Table:
    """A row per group and greedy K: its size, the accuracies of circuit and model without it, and
    the gap; then the means over the random K, and the paper's groups.
    """
    rows: list[list] = []
    for i in [*found.of("group"), *found.of("greedy")]:
        hits = found.circuit_hits[i], found.model_hits[i]
        size, label = found.removed[i].size, found.labels[i]
        rows.append([label, size, *(rate(h).value for h in hits), found.gap(i)])
    drawn = found.of("random")
    hits = found.circuit_hits[drawn], found.model_hits[drawn]
    spread = f"mean gap {found.mean_gap('random'):.2f}"
    rows.append(["random, mean", "half", *(float(h.mean()) for h in hits), spread])
    heads = published.circuits().values["llama"]
    for name, k in published.completeness().values["llama"].groups.items():
        label = f"{_titles()['llama']} group {GROUPS[name].letter}"
        rows.append([label, len(heads[name]), *k, f"{k.circuit - k.model:+.2f}"])
    return Table(
        rows,
        ["K", "heads in K", "circuit without K", "model without K", "gap"],
        "Completeness of this circuit, and of the paper's Llama circuit: accuracy without K",
    )


def grown(rest: Faithfulness, labels: Sequence[str]) -> Table:
    """Per circuit and for the whole model: accuracy, and how much more than the first circuit's,
    on the same prompts.
    """
    names, hits = [*labels, "whole model"], [*rest.hits, rest.full]
    return Table(
        [[n, rate(row), difference(row, hits[0])] for n, row in zip(names, hits, strict=True)],
        ["heads kept", "accuracy", "more than the circuit (paired)"],
        "Growing the circuit one group at a time: accuracy with 95 % intervals",
    )


def _titles() -> dict[str, str]:
    return {name: entry["title"] for name, entry in published.models().values.items()}


def likeness(found: Mapping[str, Mapping[str, Likeness | None]], *, ceiling: str) -> Table:
    """A row per group and search: how alike its score map is to that of the reference.

    found: search -> group -> its likeness, None where too few heads have a path in both.
    ceiling: the search that was made in the reference itself, on other prompts.
    """
    rows = []
    for name, group in GROUPS.items():
        for search, alike in found.items():
            title, one, most = f"{group.letter}, {search}", alike[name], found[ceiling][name]
            if one is None or most is None:
                rows.append([title, *["too few heads"] * 6])
                continue
            share = "-" if search == ceiling else one.share_of(most)
            shared = f"{one.shared} ({one.by_chance:.1f} by chance)"
            numbers = [one.correlation, one.rest, one.shuffled, share]
            rows.append([title, shared, f"{one.p_value:.2g}", *numbers])
    return Table(
        rows,
        [
            "group and search",
            f"shared of {STRONGEST}",
            "p",
            "correlation",
            "without the strongest",
            "shuffled in layers",
            "share of the ceiling",
        ],
        "Effects of all heads beside those in the reference, by group and search",
    )


def shares_of_ceiling(found: Mapping[str, Mapping[str, Likeness | None]], *, ceiling: str) -> Table:
    """A row per search and a column per group: the correlation with the reference as a share of the
    ceiling's; the row of the ceiling has its correlation. Arguments as for `likeness`.
    """
    rows = []
    for search, alike in found.items():
        row: list = [search]
        for name in GROUPS:
            one, most = alike[name], found[ceiling][name]
            if one is None or most is None:
                row.append("too few heads")
            else:
                row.append(one.correlation if search == ceiling else one.share_of(most))
        rows.append(row)
    return Table(
        rows,
        ["search", *(f"{group.letter} {group.title}" for group in GROUPS.values())],
        f"How alike the effects are to those of the reference. First row, {ceiling}: the"
        " correlation, which is the ceiling; below it, shares of that.",
    )


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

"""Tables of information flow: what each reading is worth, and where heads look.

Intervals are 95 %, over scenes."""

from collections.abc import Mapping

from entrack.circuits import Circuit, reads_from
from entrack.display.style import ROLE_WORDS
from entrack.display.tables import Table
from entrack.figures.flow import NOT_THERE, Shares, edge_words
from entrack.paper import findings
from entrack.patching.attention_knockout import Knockouts
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, rate

NO_LOSS = "no clear loss"


def depth_words(depth: float | None) -> str:
    """A half-way depth with two digits, or that there was no clear loss."""
    return NO_LOSS if depth is None else f"{depth:.2f}"


def readings(found: Knockouts) -> Table:
    """A row per edge: the change in accuracy with it blocked everywhere and its half-way depth,
    here and in Llama-7B.
    """
    rows = []
    for edge in found.hits:
        change = findings.knockout_change(edge)
        theirs = [NOT_THERE, NOT_THERE]
        if change is not None:
            theirs = [f"{change:+.2f}", depth_words(findings.knockout_half_way(edge))]
        loss = found.loss(edge, found.layers[0])
        rows.append([edge_words(edge), loss, depth_words(found.half_way(edge)), *theirs])
    return Table(
        rows,
        [
            "blocked reading",
            "change",
            "half-way depth",
            "Llama-7B: change",
            "Llama-7B: half-way depth",
        ],
        "What each reading is worth, and where it happens",
    )


def readings_by_version(found: Mapping[str, Knockouts]) -> Table:
    """A row per version, the least accurate first: its unblocked accuracy, and the change with each
    reading blocked in all layers.
    """
    ordered = sorted(found.items(), key=lambda item: item[1].plain.mean())
    edges = list(ordered[0][1].hits)
    return Table(
        [
            [
                version,
                rate(one.plain, clusters=one.scenes),
                *(one.loss(edge, one.layers[0]) for edge in edges),
            ]
            for version, one in ordered
        ],
        ["version", "unblocked", *map(edge_words, edges)],
        "Change in accuracy with one reading blocked in all layers, in every version, on the same"
        " prompts; the least accurate version first",
    )


def attention(
    groups: Mapping[str, Mapping[str, Estimate]], *, average: Shares, circuit: Circuit
) -> Table:
    """A row per group: its heads, where they act, what they should look at, the share of attention
    it gets, that of all heads there, and how many times as much the first is.
    """
    rows = []
    for name, shares in groups.items():
        wanted, group = reads_from(name, circuit.structure_role), GROUPS[name]
        mine, usual = shares[wanted], average[name][wanted]
        places = [ROLE_WORDS[circuit.role(name)], ROLE_WORDS[wanted]]
        label, size = f"{group.letter} {group.title}", len(circuit.groups[name])
        rows.append([label, size, *places, mine, usual, mine.value / usual])
    return Table(
        rows,
        [
            "group",
            "heads",
            "acts at",
            "should look at",
            "attention",
            "of all heads",
            "times as much",
        ],
        "Does each group look where its role says? Mean share of attention, over heads",
    )

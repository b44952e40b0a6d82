"""What a record of many runs shows: forests of intervals, verdicts run by run, counts, and heads.

Nothing is computed here that a run did not measure, but for counts. A page of a family that no run
was made on gets its tables without rows, and a drawing that says so."""

import re
from collections.abc import Mapping, Sequence
from math import isnan

from matplotlib import pyplot as plt

from entrack.display import style
from entrack.display.cells import Picture
from entrack.display.tables import NOT_RUN as NOT_RUN_HERE
from entrack.display.tables import Table, Verdict
from entrack.record.beside_paper import same_unit
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate
from entrack.stats.rules import NOT_RUN, OF_OURS
from entrack.sweep.heads import Search, Shared, times_found
from entrack.sweep.stability import (
    DEGREE,
    OPEN,
    OPPOSITE,
    SAME,
    ClaimAcross,
    Column,
    Reading,
    compared,
)
from entrack.sweep.strips import Row, Strips, fits

FINDINGS = {"": "the task", "i": "(i) same circuit", "ii": "(ii) same job", "iii": "(iii) better"}


def forest(
    claims: Sequence[ClaimAcross], columns: Sequence[Column], *, focus: str, name: str
) -> Strips:
    """A row for each claim whose numbers are shares or their differences, a mark with its 95 %
    interval for each column, and a star for each of the paper's numbers in the same unit.

    Of a claim that is judged version by version, `focus` is drawn, or else its first version; of
    one with several numbers the one whose unit the paper's have, or else the first. name: what the
    claims have in common, for the alternative text, unlike that of any other drawing of the page.
    """
    found = [(claim, tuple(_drawn(claim, column, focus) for column in columns)) for claim in claims]
    drawn = [(c, marks) for c, marks in found if any(marks) and fits([e for e in marks if e])]
    apart = sum(_apart([e for e in marks if e]) for _, marks in drawn)
    alt = (
        f"Claims drawn, {name}: {len(drawn)}, in {len(columns)} sets of runs. Claims of which two"
        f" intervals do not touch: {apart}. Left out, in other units or measured nowhere:"
        f" {len(claims) - len(drawn)}."
    )
    return Strips(
        name=re.sub(r"\W+", "-", name),
        sets=tuple(map(str, columns)),
        rows=tuple(Row(claim.text, marks, tuple(_paper(claim))) for claim, marks in drawn),
        alt=alt if columns else f"No run of this family is recorded for {name}.",
    )


def readings(claim: ClaimAcross | None, columns: Sequence[Column]) -> Table:
    """One claim: for each column the number that a forest draws, and its verdict; no rows for
    None.
    """
    rows = []
    for column in columns if claim else []:
        reading = claim.at(column)
        rows.append([str(column), _drawn(claim, column, ""), _verdict(claim, reading)])
    title = claim.text if claim else "No run of this family is recorded"
    return Table(rows, ["set of runs", "measured", "verdict"], f"{title}.")


def verdicts(claims: Sequence[ClaimAcross], columns: Sequence[Column]) -> Table:
    """Claim by column: the verdicts that the rule of each claim gave; "not run here" where the
    record has no run.
    """
    rows = [
        [claim.text, *(_verdict(claim, claim.at(column)) for column in columns)] for claim in claims
    ]
    return Table(
        rows, ["claim", *map(str, columns)], "Every claim in every set of runs, one rule for all."
    )


def without_star(claims: Sequence[ClaimAcross]) -> Table:
    """The claims of the paper that a forest draws no star for, with what the paper says; how many
    of ours have none is told in the caption.
    """
    rows = [[c.text, c.paper or "no number"] for c in claims if not c.ours and not _paper(c)]
    ours = sum(claim.ours for claim in claims)
    caption = (
        "Claims of the paper without a star: what it gives is in another unit than the number here,"
        f" or is no number. Of claims that it does not make, {ours} stand here without a star."
    )
    return Table(rows, ["claim", "what the paper gives"], caption)


def counts(claims: Sequence[ClaimAcross]) -> Table:
    """For each finding: claims that two sets of runs or more measured, those with one verdict in
    all of these, and the others by name.
    """
    rows = []
    for finding, title in FINDINGS.items():
        told = [claim for claim in claims if claim.finding == finding and len(claim.measured) > 1]
        changing = [claim for claim in told if not claim.agreed]
        if told:
            names = "; ".join(claim.text for claim in changing) or "-"
            rows.append([title, len(told), len(told) - len(changing), names])
    header = ["finding", "claims", "one verdict in all runs", "the others"]
    return Table(rows, header, "Claims with one verdict wherever they were measured, by finding.")


def comparisons(
    claims: Mapping[str, ClaimAcross], pairs: Mapping[str, Sequence[tuple[Column, Column]]]
) -> Table:
    """What differs between the two sets of runs of a pair, the pairs of it, and how the verdicts
    stand to each other, as numbers of claims over all pairs.
    """
    rows = []
    for kind, listed in pairs.items():
        found = [compared(claims, *pair) for pair in listed]
        told = [sum(len(one[word]) for one in found) for word in (SAME, OPEN, DEGREE, OPPOSITE)]
        rows.append([kind, len(listed), sum(told), *told] if listed else [kind, *[None] * 6])
    return Table(
        rows,
        ["what differs", "pairs", "verdicts compared", SAME, OPEN, DEGREE, OPPOSITE],
        "Two sets of runs beside each other: how their verdicts on the same claims stand.",
    )


def opposites(
    claims: Mapping[str, ClaimAcross], pairs: Mapping[str, Sequence[tuple[Column, Column]]]
) -> Table:
    """The claims with opposite verdicts: what differs, the claim, where it holds and where it does
    not.
    """
    rows = [
        [kind, claim.text, *(f"{column}: {claim.at(column).verdict}" for column in pair)]
        for kind, listed in pairs.items()
        for pair in listed
        for claim in compared(claims, *pair)[OPPOSITE]
    ]
    header = ["what differs", "claim", "here", "there"]
    return Table(rows, header, "Claims that come out in one set of runs and fail in the other.")


def overlap(found: Mapping[str, Sequence[Mapping[str, Shared]]]) -> Table:
    """What differs between two searches, pairs, and the share of heads in common (`Shared.share`),
    by group and over all of them, beside that expected by chance; means over pairs.

    found: {what differs: for each pair, {group, or "all": Shared}}.
    """
    names = {**{name: group.letter for name, group in GROUPS.items()}, "all": "all"}
    rows = [
        [
            kind,
            len(pairs),
            *(_mean([pair[name].share for pair in pairs]) for name in names),
            _mean([pair["all"].chance_share for pair in pairs]),
        ]
        if pairs
        else [kind, *[None] * (len(names) + 2)]
        for kind, pairs in found.items()
    ]
    return Table(
        rows,
        ["what differs", "pairs", *names.values(), "all, by chance"],
        "Share of the heads of the smaller circuit that the other one has too, group by group.",
    )


def mean_share(pairs: Sequence[Mapping[str, Shared]], *, by_chance: bool = False) -> str:
    """The share of heads in common, mean over pairs, in words; by chance, if asked for."""
    name = "chance_share" if by_chance else "share"
    mean = _mean([getattr(pair["all"], name) for pair in pairs])
    return f"{mean:.0%}" if pairs and not isinstance(mean, str) else NOT_RUN_HERE


def heads_found(found: Sequence[Search]) -> Picture:
    """A panel for each group: a dot where a search (x) found a head (y), dark if all found it."""
    if not found:
        return _empty("No circuit of this family is recorded.")
    told = []
    with style.look():
        most = max(len(times_found(found, group)) for group in GROUPS)
        figure, panels = plt.subplots(1, 4, figsize=(style.WIDTH, 1.6 + 0.17 * most))
        for axes, (name, group) in zip(panels, GROUPS.items(), strict=True):
            where = times_found(found, name)
            for y, searches in enumerate(where.values()):
                xs = [i for i, search in enumerate(found) if search in searches]
                always = len(xs) == len(found)
                axes.plot(
                    xs,
                    [y] * len(xs),
                    "o",
                    ls="",
                    ms=5,
                    color=style.GROUPS[name],
                    alpha=1 if always else 0.55,
                )
            axes.set_yticks(range(len(where)), map(str, where), fontsize=8)
            axes.set_xticks(range(len(found)), range(1, len(found) + 1), fontsize=8)
            axes.set(
                title=f"{group.letter}", xlim=(-0.6, len(found) - 0.4), ylim=(most - 0.4, -0.6)
            )
            every = sum(len(searches) == len(found) for searches in where.values())
            once = sum(len(searches) == 1 for searches in where.values())
            told.append(f"{group.letter} {every} in all and {once} in one, of {len(where)}")
    listed = "; ".join(f"{i} {search}" for i, search in enumerate(found, 1))
    alt = f"Heads by the number of searches that found them: {', '.join(told)}. Searches: {listed}."
    return Picture(figure, alt)


def named(found: Sequence[Search]) -> Table:
    """The searches by the number that `heads_found` gives them, and their heads by group."""
    rows = [
        [f"{i}: {search}", *(len(search.groups[name]) for name in GROUPS)]
        for i, search in enumerate(found, 1)
    ]
    header = ["search", *(group.letter for group in GROUPS.values())]
    return Table(rows, header, "The searches of the figure, and how many heads each kept.")


def _mean(numbers: Sequence[float]) -> float | str:
    known = [number for number in numbers if not isnan(number)]
    return sum(known) / len(known) if known else "-"


def _verdict(claim: ClaimAcross, reading: Reading | None) -> Verdict | None:
    if reading is None:
        return None
    return Verdict(OF_OURS.get(reading.verdict, reading.verdict) if claim.ours else reading.verdict)


def _drawn(claim: ClaimAcross, column: Column, focus: str) -> Estimate | None:
    """The one number of a claim that a forest draws of a column."""
    reading = claim.at(column)
    if reading is None or not reading.estimates or reading.verdict == NOT_RUN:
        return None
    names = list(reading.estimates)
    near = [n for n in names if n == focus] + [n for n in names if focus in n.split()]
    return reading.estimates[(near or names)[0]][same_unit(claim.slug)[0]]


def _apart(found: Sequence[Estimate]) -> bool:
    return max(e.low for e in found) > min(e.high for e in found)


def _paper(claim: ClaimAcross) -> list[float]:
    """The paper's numbers in the unit of the number that is drawn, one for each of its models."""
    return list(same_unit(claim.slug)[1].values())


def _empty(told: str) -> Picture:
    with style.look():
        figure, axes = plt.subplots(figsize=(style.WIDTH, 1))
        axes.text(0.5, 0.5, told, ha="center", va="center")
        axes.set_axis_off()
    return Picture(figure, told)

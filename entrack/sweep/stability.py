"""What many runs say about each claim: values, intervals and verdicts by lineage and seed.

The runs are records of `sweep.records`, whole or in their small form. Nothing is computed anew: a
verdict is the one that the rule gave in its run."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from entrack.errors import DataError
from entrack.stats.metrics import Estimate
from entrack.stats.rules import DOES_NOT, NOT_RUN, UNDECIDED

Item = TypeVar("Item")


@dataclass(frozen=True)
class Column:
    """Runs that were made together: on one lineage, with one seed and in one edition.

    Attributes:
        lineage, seed, edition: as in `Reading`.
    """

    lineage: str
    seed: int | None
    edition: str = ""

    def __str__(self) -> str:
        return f"{self.lineage}, {self.edition or f'prompts {self.seed}'}"


@dataclass(frozen=True)
class Reading:
    """One claim in one run.

    Attributes:
        lineage: the family that the run was made on.
        seed: of its prompts; None where the chapter has none.
        estimates: {version, "" where the claim is not judged by version: the numbers its rule asks
            for, in its order}; empty where nothing was measured.
        verdict: what the rule gave, one of `stats.rules.VERDICTS`.
        run: the name of the run.
        edition: of the sweep's table, other sizes of the same chapter; "" for none.
    """

    lineage: str
    seed: int | None
    estimates: Mapping[str, tuple[Estimate, ...]]
    verdict: str
    run: str
    edition: str = ""

    @property
    def column(self) -> "Column":
        """Where it stands beside other runs."""
        return Column(self.lineage, self.seed, self.edition)


@dataclass(frozen=True)
class ClaimAcross:
    """One claim in all runs that recorded it.

    Attributes:
        slug, text, paper, source, ours, finding: as in `stats.claims.Claim`.
        chapter: the chapter that judges it.
        readings: in the order of the runs.
    """

    slug: str
    text: str
    chapter: str
    paper: str
    source: str
    ours: bool
    finding: str
    readings: tuple[Reading, ...]

    @property
    def verdicts(self) -> Counter[str]:
        """{verdict: in how many runs}; those with nothing to measure are counted as "not run"."""
        return Counter(reading.verdict for reading in self.readings)

    def at(self, column: Column) -> Reading | None:
        """Its reading in the runs of a column; None where they did not record it."""
        return next((r for r in self.readings if r.column == column), None)

    @property
    def agreed(self) -> bool:
        """Whether two runs or more measured it and all of these gave one verdict."""
        return len(self.measured) > 1 and len({r.verdict for r in self.measured}) == 1

    @property
    def measured(self) -> list[Reading]:
        """Its readings with a verdict on something measured."""
        return [reading for reading in self.readings if reading.verdict != NOT_RUN]


SAME, OPEN, DEGREE, OPPOSITE = (
    "same verdict",
    "undecided in one",
    "partly in one",
    "opposite",
)
"""How two verdicts on one claim stand to each other."""


def beside(first: Reading | None, second: Reading | None) -> str | None:
    """One of SAME, OPEN, DEGREE and OPPOSITE; None where one of the two measured nothing.

    OPPOSITE is "does not replicate" beside a verdict that does, wholly or partly."""
    verdicts = {reading.verdict if reading else NOT_RUN for reading in (first, second)}
    if NOT_RUN in verdicts:
        return None
    if len(verdicts) == 1:
        return SAME
    if UNDECIDED in verdicts:
        return OPEN
    return OPPOSITE if DOES_NOT in verdicts else DEGREE


def compared(
    claims: Mapping[str, ClaimAcross], first: Column, second: Column
) -> dict[str, list[ClaimAcross]]:
    """{how the two verdicts stand to each other, each of `beside`'s words: the claims}."""
    found: dict[str, list[ClaimAcross]] = {word: [] for word in (SAME, OPEN, DEGREE, OPPOSITE)}
    for claim in claims.values():
        word = beside(claim.at(first), claim.at(second))
        if word is not None:
            found[word].append(claim)
    return found


def tally(
    claims: Mapping[str, ClaimAcross], pairs: Sequence[tuple[Column, Column]]
) -> Counter[str]:
    """How many claims stand to each other in each of `beside`'s ways, over all pairs; empty
    without pairs.
    """
    found: Counter[str] = Counter()
    for pair in pairs:
        found.update({word: len(listed) for word, listed in compared(claims, *pair).items()})
    return found


def one_apart(
    items: Sequence[Item], attributes: Mapping[str, Callable[[Item], object]]
) -> dict[str, list[tuple[Item, Item]]]:
    """{name of an attribute: the pairs of items that differ in it and in no other}."""
    found: dict[str, list[tuple[Item, Item]]] = {name: [] for name in attributes}
    for pair in combinations(items, 2):
        apart = [name for name, get in attributes.items() if get(pair[0]) != get(pair[1])]
        if len(apart) == 1:
            found[apart[0]].append(pair)
    return found


def columns(claims: Mapping[str, ClaimAcross]) -> list[Column]:
    """Every column that some claim has a reading in, in the order in which they are met."""
    readings = (reading for claim in claims.values() for reading in claim.readings)
    return list(dict.fromkeys(reading.column for reading in readings))


def across(collected: Mapping) -> dict[str, ClaimAcross]:
    """{slug: claim} of all runs, in the order in which the claims are met.

    collected: what `records.collect` or `records.stable` gave. Raises DataError where two runs
    made the same chapter on the same lineage with the same seed and parameters, or where a claim is
    judged twice in one run or stands in two chapters.
    """
    found: dict[str, tuple[str, Mapping, list[Reading]]] = {}
    seen: dict[tuple, str] = {}
    for name, run in collected["runs"].items():
        given = run["parameters"]
        same = (run["chapter"], tuple(sorted((key, str(value)) for key, value in given.items())))
        if same in seen:
            raise DataError(
                f"runs {seen[same]} and {name} are the same chapter with the same parameters; one"
                " of them would count twice. Leave one out."
            )
        seen[same] = name
        for record in run["claims"]:
            chapter, _, readings = found.setdefault(record["slug"], (run["chapter"], record, []))
            if chapter != run["chapter"] or any(reading.run == name for reading in readings):
                raise DataError(
                    f"claim {record['slug']!r} is judged in {chapter} and again in"
                    f" {run['chapter']} (run {name}); a claim is judged once. Rename one."
                )
            readings.append(_reading(name, given, record))
    return {
        slug: ClaimAcross(
            slug=slug,
            chapter=chapter,
            readings=tuple(readings),
            **{key: record[key] for key in ("text", "paper", "source", "ours", "finding")},
        )
        for slug, (chapter, record, readings) in found.items()
    }


def _reading(run: str, parameters: Mapping, record: Mapping) -> Reading:
    estimates = {
        version: tuple(Estimate(*numbers) for numbers in listed)
        for version, listed in record["estimates"].items()
    }
    family = str(parameters.get("family", ""))
    return Reading(
        family, parameters.get("seed"), estimates, record["verdict"], run, edition_of(run)
    )


def edition_of(run: str) -> str:
    """The edition in the name that `plan` gave a run, LINEAGE/EDITION/CHAPTER-seed-N; "" for
    none.
    """
    return run.split("/")[1] if run.count("/") == 2 else ""

"""What many runs say about each claim: values, intervals and verdicts by lineage and seed.

The runs are records of `sweep.records`, whole or in their small form. Nothing is computed anew: a
verdict is the one that the rule gave in its run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from entrack.errors import DataError
from entrack.stats.metrics import Estimate
from entrack.stats.rules import NOT_RUN


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
    """

    lineage: str
    seed: int | None
    estimates: Mapping[str, tuple[Estimate, ...]]
    verdict: str
    run: str


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

    @property
    def agreed(self) -> bool:
        """Whether two runs or more measured it and all of these gave one verdict."""
        measured = [r.verdict for r in self.readings if r.verdict != NOT_RUN]
        return len(measured) > 1 and len(set(measured)) == 1


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
    return Reading(family, parameters.get("seed"), estimates, record["verdict"], run)

"""The jobs of a sweep, from its table of lineages and runs, checked before anything runs.

`workflow/Snakefile` asks `python -m entrack.sweep.plan` for them, the table as JSON on its standard
input: the engine lives in an environment of its own, which knows nothing of chapters."""

import json
import sys
from collections.abc import Mapping

from entrack.book.chapters import EDITIONS, FULL, Project, project
from entrack.book.execution import run_id
from entrack.errors import EntrackError, ParameterError


def plan(table: Mapping, book: Project) -> list[dict[str, object]]:
    """One job for each lineage, run and seed, in the order of the table.

    Args:
        table: {"lineages": {family: {"versions": [...]}}, "runs": [{"chapter", "parameters",
            "sizes", "seeds", "lineages", "edition"}]}. "sizes" names the edition of the book whose
            parameters a run has, such as "quick", where "parameters" gives no other value. Without
            "seeds" a run has the seed of its chapter; without "lineages" it is made on each;
            "versions" are those that must have been trained; an "edition" is a name for other
            parameters of the same chapter and seed.
        book: whose chapters.

    Returns:
        Each job as plain data: name (unique, a path without ending), lineage, versions, chapter,
        seed, parameters (texts as `entrack run -p` takes them), key (a digest of the chapter's
        code, of the modules it imports and of the parameters: equal means nothing to do again).

    Raises:
        ParameterError: an unknown entry, lineage, chapter or parameter, a value not allowed, or two
            jobs of one name.
    """
    _known("table", table, {"lineages", "runs", "threads", "gpus"})
    lineages = table.get("lineages") or {}
    jobs, editions = [], {}
    for run in table.get("runs") or []:
        _known("run", run, {"chapter", "parameters", "sizes", "seeds", "lineages", "edition"})
        chapter = book.find(str(run.get("chapter", "")))
        sizes = str(run.get("sizes", FULL.name))
        if sizes not in EDITIONS:
            raise ParameterError(
                f"chapter {chapter.name} is to run in the sizes of {sizes!r}; the book's editions"
                f" are {', '.join(EDITIONS)}. Name one of these."
            )
        if sizes not in editions:
            editions[sizes] = book.edition(sizes)
        own = {**editions[sizes].of(chapter), **(run.get("parameters") or {})}
        for lineage in run.get("lineages") or lineages:
            if lineage not in lineages:
                raise ParameterError(
                    f"chapter {chapter.name} is to run on lineage {lineage!r}; the sweep has"
                    f" {', '.join(lineages) or 'none'}. Name one, or add it under `lineages`."
                )
            _known(f"lineage {lineage}", lineages[lineage] or {}, {"versions"})
            for seed in run.get("seeds") or [None]:
                given = {"family": lineage, **own}
                given |= {} if seed is None else {"seed": seed}
                texts = {name: _text(value) for name, value in given.items()}
                values = chapter.values(texts)
                default = next((p.default for p in chapter.parameters if p.name == "seed"), None)
                drawn = values.get("seed", default)
                edition = f"{run['edition']}/" if run.get("edition") else ""
                jobs.append(
                    {
                        "name": f"{lineage}/{edition}{chapter.name}-seed-{drawn}",
                        "lineage": lineage,
                        "versions": (lineages[lineage] or {}).get("versions") or [],
                        "chapter": chapter.name,
                        "seed": drawn,
                        "parameters": texts,
                        "key": run_id(chapter, values),
                    }
                )
    names = [job["name"] for job in jobs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise ParameterError(
            f"two runs of the sweep are both {repeated}; a lineage, a chapter and a seed are run"
            " once in an edition. Take one out, or give it an edition."
        )
    return jobs


def _known(what: str, entry: Mapping, names: set[str]) -> None:
    unknown = sorted({*entry} - names)
    if unknown:
        raise ParameterError(
            f"{what} of the sweep has {unknown[0]!r}; it takes {', '.join(sorted(names))}."
            " Correct the table."
        )


def _text(value: object) -> str:
    """As typed on a command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def main() -> int:
    """Print the jobs of the table on the standard input as JSON; 2 and a sentence if wrong."""
    try:
        print(json.dumps(plan(json.load(sys.stdin), project())))
    except EntrackError as error:
        print(f"entrack: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

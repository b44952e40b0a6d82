"""The record of a sweep beside the published chapters, as chapter 15 reads it.

`python -m entrack.sweep.published _build/sweep/stable.json` writes `recorded.json`: the claims of
the sweep, of the committed notebooks, and of chapters that were published on another family before.
Without a file it takes the sweep from `recorded.json` itself, and so brings the published chapters
up to date. Run it before the chapters are published on another family: what the record does not
hold by then of the family before is only in the history of the repository."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from entrack.book.chapters import Project, project
from entrack.book.execution import Execution, run_record
from entrack.book.freshness import get_stamp
from entrack.book.pages import STATUS_FILES, claims, read_notebooks
from entrack.errors import DataError, EntrackError
from entrack.sweep.records import stable, write_record

EDITION = "published"
READER = "15_stability"
"""The chapter that reads the record; its own claims are about the record, so they are not in it."""
TARGET = Path(__file__).with_name("recorded.json")


def published(book: Project, chapters: Sequence[str]) -> dict:
    """What `records.collect` would give of the committed notebooks of `chapters`, by the names of
    runs of the edition `EDITION`.

    Raises DataError for a chapter that is not executed, or whose execution no status file tells.
    """
    status = json.loads((book.notebooks / STATUS_FILES["full"]).read_bytes())
    runs = {}
    for name in chapters:
        chapter = book.find(name)
        notebook = chapter.read(chapter.notebook) if chapter.notebook.exists() else None
        if notebook is None or get_stamp(notebook) is None or chapter.name not in status:
            raise DataError(
                f"chapter {chapter.name} is not published. Run: entrack build --publish"
                f" {chapter.name}"
            )
        record = run_record(Execution(notebook, status[chapter.name]))
        given = record["parameters"]
        runs[f"{given['family']}/{EDITION}/{chapter.name}-seed-{given['seed']}"] = record
    return {"format": next(iter(runs.values()))["format"] if runs else None, "runs": runs}


def judging(book: Project) -> list[str]:
    """The chapters whose committed notebooks judge claims, without the one that reads the
    record.
    """
    judged = claims(read_notebooks(book.notebooks))
    return sorted({claim.chapter for claim in judged} - {READER})


def _of(run: Mapping) -> tuple[str, str]:
    """A published run follows the one of the same family and chapter, and no other."""
    return run["parameters"]["family"], run["chapter"]


def main(arguments: Sequence[str]) -> int:
    """`[STABLE [TARGET]]`: 0, or 1 and a sentence on the error stream."""
    source, target = (*arguments, TARGET, TARGET)[:2]
    try:
        swept, before = (json.loads(Path(path).read_bytes())["runs"] for path in (source, TARGET))
        book = project()
        now = stable(published(book, judging(book)))
        made = {_of(run) for run in now["runs"].values()}
        ahead = {n: run for n, run in before.items() if f"/{EDITION}/" in n} | swept
        kept = {n: r for n, r in ahead.items() if f"/{EDITION}/" not in n or _of(r) not in made}
        write_record(target, {"format": now["format"], "runs": kept | now["runs"]})
    except EntrackError as error:
        print(f"entrack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

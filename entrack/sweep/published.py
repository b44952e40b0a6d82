"""The record of a sweep beside the published chapters, as chapter 15 reads it.

`python -m entrack.sweep.published _build/sweep/stable.json` puts the claims of the committed
notebooks beside those of the sweep, into `recorded.json`. Without a file it takes the sweep from
`recorded.json` itself, and so brings the published chapters up to date."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from entrack.book.chapters import Project, project
from entrack.book.execution import Execution, run_record
from entrack.book.freshness import get_stamp
from entrack.book.pages import STATUS_FILES
from entrack.errors import DataError, EntrackError
from entrack.sweep.records import stable, write_record

EDITION = "published"
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


def main(arguments: Sequence[str]) -> int:
    """`[STABLE [TARGET]]`: 0, or 1 and a sentence on the error stream."""
    source, target = (*arguments, *[TARGET] * (2 - len(arguments)))
    try:
        swept = json.loads(Path(source).read_bytes())
        runs = {n: run for n, run in swept["runs"].items() if f"/{EDITION}/" not in n}
        chapters = sorted({run["chapter"] for run in runs.values()})
        runs |= stable(published(project(), chapters))["runs"]
        write_record(target, {"format": swept["format"], "runs": runs})
    except EntrackError as error:
        print(f"entrack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

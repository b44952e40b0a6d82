"""Every chapter on one family, one after the other: `entrack run-all` and `make paper-7b`."""

import sys

from entrack.book.chapters import project
from entrack.book.execution import run
from entrack.errors import EntrackError
from entrack.versions.whereabouts import check_ready


def run_every_chapter(family: str) -> list[str]:
    """Execute every chapter that takes a family on `family`, into `runs/`, and print where each
    went. One that fails is told on the standard error stream and stops no other.

    Returns:
        The names of the chapters that failed. Run again, it goes on from stored results.

    Raises:
        ModelError: before anything runs, where weights, disk or memory do not suffice.
        ParameterError: likewise, for an unknown family.
    """
    chapters = [c for c in project().chapters() if "family" in {p.name for p in c.parameters}]
    values = [chapter.values({"family": family}) for chapter in chapters]
    for sentence in check_ready(family):
        print(sentence, file=sys.stderr)
    failed = []
    for chapter, given in zip(chapters, values, strict=True):
        try:
            print(run(chapter, given).relative_to(chapter.project.root), flush=True)
        except EntrackError as error:
            print(f"entrack: {error}", file=sys.stderr)
            failed.append(chapter.name)
    if failed:
        print(
            f"{len(failed)} of {len(chapters)} chapters did not come to their end on {family}:"
            f" {', '.join(failed)}. The same command goes on: what had finished is stored.",
            file=sys.stderr,
        )
    return failed

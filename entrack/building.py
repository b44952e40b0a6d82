"""Make the book: bring every chapter up to date, put the pages together, render them.

Execution and rendering happen under `_build/`, which git ignores, so building leaves the working tree as it was.
Notebooks executed here are kept in `_build/executed/` and serve again as long as they are fresh. What is rendered is
always today's prose with fresh outputs; a chapter that failed or is stale stops the rendering, with its reason.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nbformat import NotebookNode

from entrack.chapters import Chapter, Project
from entrack.errors import ChapterError
from entrack.execution import execute
from entrack.normalise import carry_outputs, notebook_bytes
from entrack.provenance import write_atomic
from entrack.rendering import render
from entrack.stamps import get_stamp, outputs_digest, put_stamp

Log = Callable[[str], None]
STALE, ALL, NOTHING = "stale", "all", "nothing"  # which chapters `build` executes


def build(
    project: Project,
    chapters: Sequence[Chapter] = (),
    *,
    execute_which: str = STALE,
    publish: bool = False,
    html: bool = True,
    log: Log = print,
) -> Path:
    """Execute what is to be executed, publish where asked, and render the book; returns the page to open.

    chapters: those to execute and publish, by default all; the others must be fresh for the book to be rendered.
    execute_which: STALE executes what is not fresh, ALL every chapter, NOTHING none.
    publish: write the notebooks beside their sources, with `status.json` (when, on what, how long).
    html: render the pages; False executes and publishes only, and returns the folder of the executed notebooks.
    log: takes each line about progress.
    Raises ChapterError at the end, with nothing rendered, when a chapter failed or is not fresh, and when rendering
    gave a warning. The chapters that did succeed are kept, and published, all the same.
    """
    wanted = project.chapters()
    names = {chapter.name for chapter in chapters or wanted}
    if not html:
        wanted = [chapter for chapter in wanted if chapter.name in names]
    pages: dict[str, NotebookNode] = {}
    problems: list[str] = []
    for index, chapter in enumerate(wanted, 1):
        place = f"[{index}/{len(wanted)}] "
        which = execute_which if chapter.name in names else NOTHING
        try:
            pages[chapter.name] = page(chapter, execute_which=which, log=lambda text, place=place: log(place + text))
        except ChapterError as error:
            log(f"{place}{chapter.name}: cannot be shown")
            problems.append(str(error))
    if publish:
        _publish(project, {name: notebook for name, notebook in pages.items() if name in names})
    if problems:
        summary = f"{len(problems)} of {len(wanted)} chapters cannot be shown, so nothing was rendered."
        raise ChapterError("\n\n".join([*problems, summary]))
    return render(project, pages, log=log) if html else project.executed


def page(chapter: Chapter, *, execute_which: str, log: Log) -> NotebookNode:
    """Today's text of `chapter` with fresh outputs, executed now if need be and allowed.

    Raises ChapterError when the execution fails, or when it would be needed and `execute_which` is NOTHING.
    """
    own = chapter.project.executed / f"{chapter.name}.ipynb"
    # To read the book, the published outputs come first; to work on it, those of this machine.
    order = [chapter.notebook, own] if execute_which == NOTHING else [own, chapter.notebook]
    reasons = []
    for path in order if execute_which != ALL else []:
        try:
            notebook = chapter.read(path)
        except ChapterError:
            continue
        if notebook is not None:
            state = chapter.state(notebook)
            if state.fresh:
                log(f"{chapter.name}: fresh")
                return today(chapter, notebook)
            reasons.append(f"{state.name} ({state.reason})")
    why = reasons[0] if reasons else "unexecuted"
    if execute_which == NOTHING:
        raise ChapterError(
            f"chapter {chapter.name} is {why}; only fresh outputs are rendered. Execute it: `entrack build`."
        )
    log(f"{chapter.name}: executing{'' if execute_which == ALL else ', because it is ' + why}")
    execution = execute(chapter, {})
    log(f"{chapter.name}: done in {execution.record['seconds']} s")
    write_atomic(own, notebook_bytes(execution.notebook))
    _write_json(own.with_suffix(".json"), execution.record)
    return today(chapter, execution.notebook)


def today(chapter: Chapter, executed: NotebookNode) -> NotebookNode:
    """`executed`, which is fresh, with the prose of today's source; stamped for its outputs as they now read."""
    stamp = get_stamp(executed)
    notebook = carry_outputs(chapter.source, executed)
    return put_stamp(notebook, replace(stamp, outputs=outputs_digest(notebook)))


def _publish(project: Project, pages: dict[str, NotebookNode]) -> None:
    """Write the notebooks beside their sources, and in `status.json` the records of the executions they show."""
    status = project.notebooks / "status.json"
    records = _read_json(status)
    for name, notebook in pages.items():
        _write_if_new(project.notebooks / f"{name}.ipynb", notebook_bytes(notebook))
        inputs = get_stamp(notebook).inputs
        for record in (records.pop(name, {}), _read_json(project.executed / f"{name}.json")):
            if record.get("stamp") == inputs:
                records[name] = record
    names = {chapter.name for chapter in project.chapters()}
    _write_json(status, {name: record for name, record in records.items() if name in names})


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def _write_json(path: Path, value: object) -> None:
    _write_if_new(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _write_if_new(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)

"""Make the book: bring every chapter up to date, put the pages together, render them.

Execution and rendering happen under `_build/`, which git ignores, so building leaves the working
tree as it was. Notebooks executed here are kept in `_build/executed/` and serve again as long as
they are fresh. What is rendered is always today's prose with fresh outputs; a chapter that failed
or is stale stops the rendering, with its reason."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nbformat import NotebookNode

from entrack.book.chapters import FULL, Chapter, Edition, Project
from entrack.book.comparison import agreement
from entrack.book.execution import Execution
from entrack.book.freshness import get_stamp, outputs_digest, put_stamp, used_modules
from entrack.book.notebooks import carry_outputs, notebook_bytes
from entrack.book.pages import STATUS_FILES, notice, with_notice
from entrack.book.parallel import executions, usual_jobs
from entrack.book.rendering import render
from entrack.errors import ChapterError, EntrackError
from entrack.store.digests import write_atomic

Log = Callable[[str], None]
STALE, ALL, NOTHING = "stale", "all", "nothing"  # which chapters `build` executes
SEARCH = "entrack.circuit.search"  # what a chapter uses that needs the circuit


def build(
    project: Project,
    chapters: Sequence[Chapter] = (),
    *,
    execute_which: str = STALE,
    publish: bool = False,
    html: bool = True,
    jobs: int | None = None,
    edition: Edition = FULL,
    log: Log = print,
) -> Path:
    """Execute what is to be executed, publish where asked, and render the book; returns the page to
    open.

    Args:
        chapters: those to execute and publish, by default all; the others must be fresh for the
            book to be rendered.
        execute_which: STALE executes what is not fresh, ALL every chapter, NOTHING none.
        publish: write the notebooks beside their sources, with `status.json` (when, on what, how
            long).
        html: render the pages; False executes and publishes only, and returns the folder of the
            executed notebooks.
        jobs: how many chapters are executed at once; None leaves it to `parallel.usual_jobs`.
        edition: whose values the chapters get. The quick one is rendered from what this machine
            executed alone, says so on its pages, and publishes its times, never its notebooks.
        log: takes each line about progress.

    Raises:
        ChapterError: at the end, with nothing rendered, when a chapter failed or is not fresh, and
            when rendering gave a warning. The chapters that did succeed are kept, and published,
            all the same.
    """
    every = project.chapters()
    names = {chapter.name for chapter in chapters or every}
    wanted = [chapter for chapter in every if html or chapter.name in names]
    readable, problems = _readable_sources(wanted, log)
    pages, reasons = _kept(readable, names, execute_which, edition)
    for name in pages:
        log(f"{name}: fresh")
    due = [
        chapter
        for chapter in readable
        if chapter.name in reasons and chapter.name in names and execute_which != NOTHING
    ]
    problems += [
        f"chapter {name} is {why}; only fresh outputs are rendered. Execute it:"
        f" `entrack build{'' if edition.published else f' --edition {edition.name}'}`."
        for name, why in reasons.items()
        if name not in {chapter.name for chapter in due}
    ]
    for chapter, result in _executed(_order(due, edition), reasons, edition, jobs=jobs, log=log):
        if isinstance(result, EntrackError):
            problems.append(str(result))
            continue
        own = _own(chapter, edition)
        write_atomic(own, notebook_bytes(result.notebook))
        _write_json(own.with_suffix(".json"), result.record)
        pages[chapter.name] = today(chapter, result.notebook)
    if publish:
        _publish(project, {n: page for n, page in pages.items() if n in names}, edition)
    if problems:
        summary = (
            f"{len(problems)} of {len(wanted)} chapters cannot be shown, so nothing was rendered."
        )
        raise ChapterError("\n\n".join([*problems, summary]))
    if not html:
        return project.folder(edition)
    shown = {c.name: pages[c.name] for c in wanted}
    if not edition.published:
        shown = {c.name: _announced(c, shown[c.name], edition) for c in wanted}
    return render(project, shown, log=log)


def _announced(chapter: Chapter, page: NotebookNode, edition: Edition) -> NotebookNode:
    """The page with a note of its edition at the top, its values, and where its claims differ."""
    record = _read_json(_own(chapter, edition).with_suffix(".json"))
    published = _readable(chapter, chapter.notebook)
    note = notice(edition.name, edition.of(chapter), record)
    return with_notice(page, f"{note}\n\n{agreement(page, published)}", edition.name)


def _readable_sources(wanted: Sequence[Chapter], log: Log) -> tuple[list[Chapter], list[str]]:
    """The chapters whose source can be read, and why the others cannot: one that is broken stops no
    other.
    """
    readable, problems = [], []
    for chapter in wanted:
        try:
            chapter.source  # noqa: B018 (reads the file)
        except ChapterError as error:
            log(f"{chapter.name}: cannot be shown")
            problems.append(str(error))
        else:
            readable.append(chapter)
    return readable, problems


def _kept(
    wanted: Sequence[Chapter], names: set[str], execute_which: str, edition: Edition
) -> tuple[dict[str, NotebookNode], dict[str, str]]:
    """{name: today's text with stored outputs} of the chapters that need no execution; {name:
    reason} of the others, "" where it is that all are asked for."""
    pages, reasons = {}, {}
    for chapter in wanted:
        which = execute_which if chapter.name in names else NOTHING
        # To read the book, the published outputs come first; to work on it, those of this machine.
        order = (
            [_own(chapter, edition)]
            if not edition.published
            else [chapter.notebook, _own(chapter, edition)]
            if which == NOTHING
            else [_own(chapter, edition), chapter.notebook]
        )
        found = (
            []
            if which == ALL
            else [notebook for path in order if (notebook := _readable(chapter, path)) is not None]
        )
        states = [chapter.state(notebook, edition.of(chapter)) for notebook in found]
        fresh = [notebook for notebook, state in zip(found, states, strict=True) if state.fresh]
        if fresh:
            pages[chapter.name] = today(chapter, fresh[0])
        else:
            reasons[chapter.name] = (
                ""
                if which == ALL
                else next((f"{s.name} ({s.reason})" for s in states), "unexecuted")
            )
    return pages, reasons


def _executed(
    due: Sequence[Chapter], reasons: dict[str, str], edition: Edition, *, jobs: int | None, log: Log
) -> Iterator[tuple[Chapter, Execution | EntrackError]]:
    """The executions of `due` as they end, with a line for each start and end."""
    if not due:
        return
    done = 0
    for chapter, result in executions(due, jobs=jobs or usual_jobs(), edition=edition):
        if result is None:
            why = reasons[chapter.name]
            log(f"{chapter.name}: executing{f', because it is {why}' if why else ''}")
            continue
        done += 1
        told = (
            "cannot be shown"
            if isinstance(result, EntrackError)
            else f"done in {result.record['seconds']} s"
        )
        log(f"[{done}/{len(due)}] {chapter.name}: {told}")
        yield chapter, result


def _order(chapters: Sequence[Chapter], edition: Edition) -> list[Chapter]:
    """In which order to start them, so that all cores have work from the first minute to the last.

    The first chapter that needs the circuit finds it while those that do not need it run beside it:
    the others would only wait for it. Then the longest come first, as the edition's status file
    tells; unknown ones count as longest."""
    file = STATUS_FILES[edition.name]
    records = _read_json(chapters[0].project.notebooks / file) if chapters else {}
    longest = sorted(
        chapters,
        key=lambda chapter: (
            -records.get(chapter.name, {}).get("seconds_from_nothing", float("inf"))
        ),
    )
    needing = [
        c.name
        for c in chapters
        if SEARCH in used_modules(c.source, package=c.project.root / "entrack")
    ]
    return sorted(
        longest,
        key=lambda chapter: (
            0 if chapter.name in needing[:1] else 2 if chapter.name in needing else 1
        ),
    )


def _own(chapter: Chapter, edition: Edition) -> Path:
    """Where the notebook executed on this machine is kept."""
    return chapter.project.folder(edition) / f"{chapter.name}.ipynb"


def _readable(chapter: Chapter, path: Path) -> NotebookNode | None:
    try:
        return chapter.read(path)
    except ChapterError:
        return None


def today(chapter: Chapter, executed: NotebookNode) -> NotebookNode:
    """`executed`, which is fresh, with the prose of today's source; stamped for its outputs as they
    now read.
    """
    stamp = get_stamp(executed)
    notebook = carry_outputs(chapter.source, executed)
    return put_stamp(notebook, replace(stamp, outputs=outputs_digest(notebook)))


def _publish(project: Project, pages: dict[str, NotebookNode], edition: Edition) -> None:
    """Write the notebooks beside their sources, and the records of the executions they show in the
    file of the edition.
    """
    status = project.notebooks / STATUS_FILES[edition.name]
    records = _read_json(status)
    for name, notebook in pages.items():
        if edition.published:
            _write_if_new(project.notebooks / f"{name}.ipynb", notebook_bytes(notebook))
        inputs = get_stamp(notebook).inputs
        for record in (records.pop(name, {}), _read_json(project.folder(edition) / f"{name}.json")):
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
    _write_if_new(
        path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    )


def _write_if_new(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)

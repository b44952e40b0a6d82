"""The editions of the course, made from the chapters' sources and their published outputs.

`student/` has stubs and checks, `instructor/` solutions, hidden tests, times and notes, `nbgrader/`
the exercises alone as a source tree of that tool; of each there is a zip. Nothing is executed but
the exercises, which are proven first."""

import copy
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from entrack.book.building import today
from entrack.book.chapters import Chapter, Project, glued
from entrack.book.notebooks import (
    ANSWER,
    CHECK,
    HIDDEN,
    SETUP,
    TEACHER,
    WRONG,
    figure_comment,
    normalise,
    notebook_bytes,
)
from entrack.course.exercises import code_lines, sentences
from entrack.course.markdown import Numbers, Plain, References
from entrack.course.nbgrader import CONFIG, for_nbgrader
from entrack.course.proof import proven
from entrack.course.sheets import MEASURED, PROSE, SOLUTION, Cell, Sheet, read_sheet
from entrack.course_errors import ExerciseError
from entrack.errors import ChapterError
from entrack.store.digests import write_atomic

WRITTEN = "written-answer"
METADATA = "entrack_course"
_SHOWN = ("text/html", "text/plain", "image/png", "image/svg+xml")
_HIDDEN_INPUT = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
_MOMENT = (2000, 1, 1, 0, 0, 0)  # in the zips, so that the same content gives the same bytes
_NO_PACKAGE = """\
import importlib.util

if importlib.util.find_spec("entrack") is None:
    raise SystemExit("entrack is not installed here; its README says how. Then start again.")
"""
_FROM_REPOSITORY = """\
import importlib.util

if importlib.util.find_spec("entrack") is None:
    !git clone -q {url} entrack-book
    %pip install -q -e ./entrack-book
    import sys

    sys.path.insert(0, "entrack-book")
"""


@dataclass(frozen=True)
class Material:
    """What the editions of one chapter are made of.

    Attributes:
        sheet: the chapter with its published outputs.
        plain: writes its text; knows no value that only a solution glues.
        solved: the same, and knows those too.
        seconds: {label: measured seconds of the solution}.
    """

    sheet: Sheet
    plain: Plain
    solved: Plain
    seconds: Mapping[str, float]


def published_pages(project: Project) -> dict[str, NotebookNode]:
    """{chapter: its published outputs with today's prose}.

    Raises ChapterError for a chapter whose published outputs are not fresh."""
    return {chapter.name: _page(chapter) for chapter in project.chapters()}


def build_course(
    project: Project,
    pages: Mapping[str, NotebookNode],
    *,
    log: Callable[[str], None] = print,
) -> Path:
    """Write the three editions and their zips to `_build/course`; returns that folder.

    Args:
        project: whose pages are built (`make html`).
        pages: what `published_pages` gave.
        log: takes each line about progress.

    Raises:
        ExerciseError: an exercise does not hold, an answer would leak, or a page is not built.
    """
    sheets = [read_sheet(name, page) for name, page in pages.items()]
    log(f"proving {sum(len(sheet.coded) for sheet in sheets)} exercises")
    seconds = proven(sheets)
    names = frozenset(pages)
    folder = project.build / "course"
    contents: dict[str, dict[str, bytes]] = {"student": {}, "instructor": {}, "nbgrader": {}}
    for sheet in sheets:
        material = material_of(sheet, pages[sheet.chapter], References(project), names, seconds)
        student = student_notebook(material)
        refuse_leaks(sheet, student)
        file = f"{sheet.chapter}.ipynb"
        contents["student"][file] = notebook_bytes(student)
        contents["instructor"][file] = notebook_bytes(instructor_notebook(material))
        if sheet.coded:
            exported = notebook_bytes(for_nbgrader(sheet, material.plain))
            contents["nbgrader"][f"source/{sheet.chapter}/{file}"] = exported
    contents["nbgrader"]["nbgrader_config.py"] = CONFIG.encode()
    for name, files in contents.items():
        write_edition(folder, name, files, log=log)
    return folder


def write_edition(
    folder: Path, name: str, files: Mapping[str, bytes], *, log: Callable[[str], None]
) -> Path:
    """Make `folder / name` hold exactly `files`, {path in it: content}, and a zip of them lie
    beside it; returns the former. Says so in one line to `log`.
    """
    kept = {folder / name / path for path in files}
    for path in sorted((folder / name).rglob("*")):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, data in files.items():
        write_atomic(folder / name / path, data)
    with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path, _MOMENT), data, zipfile.ZIP_DEFLATED)
    log(f"{name}: {len(files)} files in {folder / name}, and {folder / name}.zip")
    return folder / name


def material_of(
    sheet: Sheet,
    page: NotebookNode,
    numbers: Numbers,
    chapters: frozenset[str],
    seconds: Mapping[str, float],
) -> Material:
    """The material of one chapter: `page` is the notebook that `sheet` was read from."""
    every = glued(page)
    told = glued(nbformat.from_dict({"cells": [c.node for c in sheet.cells if c.role == SOLUTION]}))
    shown = {name: value for name, value in every.items() if name not in told}
    plain, solved = (Plain(sheet.chapter, g, numbers, chapters) for g in (shown, every))
    return Material(sheet, plain, solved, seconds)


def student_notebook(material: Material) -> NotebookNode:
    """The chapter with stubs and visible checks, and nothing that gives an answer away."""
    cells = [
        nbformat.v4.new_code_cell(_first_cell(), metadata={"jupyter": {"source_hidden": True}})
    ]
    exercises = material.sheet.exercises
    for cell in material.sheet.cells:
        if cell.role == PROSE:
            cells += _markdown(material.plain.text(cell.visible))
            cells += [_written(label) for label in cell.starts if not exercises[label].function]
        elif cell.role == ANSWER:
            cells.append(_code(cell, exercises[cell.label].stub))
        elif cell.role in (MEASURED, SETUP, CHECK):
            cells += _shown(cell, material.plain)
    return _notebook(material, cells)


def instructor_notebook(material: Material) -> NotebookNode:
    """The chapter with solutions, hidden tests, measured times and the notes for the teacher."""
    cells = _markdown(_overview(material))
    for cell in material.sheet.cells:
        if cell.role == TEACHER:
            text = material.solved.text(cell.node.source)
            quoted = "\n".join(f"> {line}".rstrip() for line in text.splitlines())
            cells += _markdown(f"> **For the teacher** (`{cell.label}`)\n>\n{quoted}")
        elif cell.node.cell_type == "markdown":
            cells += _markdown(material.solved.text(cell.node.source))
        elif cell.role == HIDDEN:
            cells.append(_code(cell, f"# Hidden test: students do not see it.\n{cell.node.source}"))
        elif cell.role != WRONG:
            cells += _shown(cell, material.solved)
    return _notebook(material, cells)


def refuse_leaks(sheet: Sheet, student: NotebookNode) -> None:
    """Raise ExerciseError when the student edition holds what a solution alone may say: a line of
    an answer that is not in its stub, a hidden test's sentence or code, a wrong answer, a teacher's
    note. A line that a measurement of the chapter shows as well is no secret.
    """
    open_roles = (MEASURED, SETUP, CHECK)
    shown = [c.node.source for c in sheet.cells if c.role in open_roles]
    shown += [exercise.stub for exercise in sheet.exercises.values()]
    known = {line.strip() for source in shown for line in source.splitlines()}
    secret = [s for exercise in sheet.exercises.values() for s in sentences(exercise.hidden)]
    for cell in sheet.cells:
        if cell.role not in open_roles:
            said = set(cell.visible.splitlines())
            lines = "\n".join(x for x in cell.node.source.splitlines() if x not in said)
            secret += code_lines(lines)
    text = "\n".join(
        [c.source for c in student.cells]
        + [str(o) for c in student.cells for o in c.get("outputs", [])]
    )
    for line in secret:
        if line not in known and line in text:
            raise ExerciseError(
                f"chapter {sheet.chapter}: the student edition would hold {line!r}, which belongs"
                " to a solution, a hidden test or the teacher. Word or place it otherwise."
            )


def _page(chapter: Chapter) -> NotebookNode:
    executed = chapter.read(chapter.notebook)
    state = chapter.state(executed)
    if not state.fresh:
        raise ChapterError(
            f"chapter {chapter.name} is {state.name} ({state.reason}); the editions show fresh"
            f" outputs alone. Execute it: `entrack build --publish {chapter.name}`."
        )
    return today(chapter, executed)


def _first_cell() -> str:
    url = os.environ.get("BOOK_REPOSITORY")
    return (_FROM_REPOSITORY.format(url=url) if url else _NO_PACKAGE).rstrip()


def _overview(material: Material) -> str:
    rows = [
        f"| `{e.label}` | {e.title} | {e.kind or 'in words'} | {_time(material, e.label)} |"
        for e in material.sheet.exercises.values()
    ]
    if not rows:
        return "**Instructor edition.** This chapter has no exercises."
    head = ["| label | exercise | kind | solution runs in |", "|---|---|---|---|"]
    return "\n".join(["**Instructor edition.** Do not hand out.", "", *head, *rows])


def _time(material: Material, label: str) -> str:
    return f"{material.seconds[label]:.1f} s" if label in material.seconds else ""


def _markdown(text: str) -> list[NotebookNode]:
    return [nbformat.v4.new_markdown_cell(text)] if text.strip() else []


def _written(label: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(
        f"*Your answer to `{label}`, in words:*", metadata={"tags": [WRITTEN, label]}
    )


def _code(cell: Cell, source: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(cell.node.metadata.tags)})


def _shown(cell: Cell, plain: Plain) -> list[NotebookNode]:
    """A cell of code with what it showed, and the caption of its figure."""
    figure, source = figure_comment(cell.node.source)
    shown = nbformat.v4.new_code_cell(source, execution_count=cell.node.get("execution_count"))
    tags = cell.node.metadata.get("tags", [])
    if tags:
        shown.metadata["tags"] = list(tags)
    if _HIDDEN_INPUT & set(tags):
        shown.metadata["jupyter"] = {"source_hidden": True}
    shown.outputs = [o for o in map(_readable, cell.node.get("outputs", [])) if o is not None]
    if not figure:
        return [shown]
    caption = f"**{plain.numbers.figure(figure['name'])}.** {plain.text(figure['caption'])}"
    return [shown, *_markdown(caption)]


def _readable(output: NotebookNode) -> NotebookNode | None:
    """An output as every notebook shows it; None for a record that only this package reads."""
    if "data" not in output:
        return output
    kept = copy.deepcopy(output)
    kept.data = NotebookNode({k: v for k, v in output.data.items() if k in _SHOWN})
    kept.metadata = NotebookNode()
    return kept if kept.data else None


def _notebook(material: Material, cells: list[NotebookNode]) -> NotebookNode:
    folded = [cell.metadata.get("jupyter") for cell in cells]
    notebook = normalise(nbformat.v4.new_notebook(cells=cells))
    for cell, how in zip(notebook.cells, folded, strict=True):
        if how:
            cell.metadata["jupyter"] = how
    notebook.metadata[METADATA] = {"chapter": material.sheet.chapter}
    return notebook

"""The exercises as nbgrader reads them: its metadata, its marks, nothing that it need not run.

An assignment holds the exercises and their set-up alone. nbgrader executes every cell of a
submission, and the chapters' measurements take minutes each."""

import ast

import nbformat
from nbformat import NotebookNode

from entrack.book.notebooks import ANSWER, CHECK, HIDDEN, SETUP, normalise
from entrack.course.markdown import Plain
from entrack.course.sheets import PROSE, Cell, Sheet

CONFIG = """\
c = get_config()  # noqa: F821 (nbgrader gives it)
c.CourseDirectory.course_id = "entrack"
c.ExecutePreprocessor.timeout = 120
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
"""
_SCHEMA = 3


def for_nbgrader(sheet: Sheet, plain: Plain) -> NotebookNode:
    """The assignment of a chapter, as it goes into nbgrader's `source/`: answers between its marks
    for solutions, hidden tests between those for hidden tests, a point for each check.
    """
    cells = [nbformat.v4.new_markdown_cell(f"# {_title(sheet)}: exercises")]
    counts: dict[str, int] = {}
    for cell in sheet.cells:
        cells += _cell(cell, sheet, plain, counts)
    notebook = normalise(nbformat.v4.new_notebook(cells=cells))
    for cell, made in zip(notebook.cells, cells, strict=True):
        if "nbgrader" in made.metadata:
            cell.metadata["nbgrader"] = made.metadata["nbgrader"]
    return notebook


def _cell(cell: Cell, sheet: Sheet, plain: Plain, counts: dict[str, int]) -> list[NotebookNode]:
    if cell.role == SETUP:
        return [nbformat.v4.new_code_cell(cell.node.source)]
    if cell.role == PROSE:
        coded = [label for label in cell.starts if sheet.exercises[label].function]
        text = plain.exercises_only(cell.visible, coded) if coded else ""
        return [nbformat.v4.new_markdown_cell(text)] if text else []
    if cell.role == ANSWER:
        about = _about(cell.label, grade=False, solution=True)
        source = _marked_answer(cell.node.source)
        return [nbformat.v4.new_code_cell(source, metadata={"nbgrader": about})]
    if cell.role in (CHECK, HIDDEN):
        return [_graded(cell, source, counts) for source in _one_by_one(cell.node.source)]
    return []


def _graded(cell: Cell, source: str, counts: dict[str, int]) -> NotebookNode:
    counts[cell.label] = counts.get(cell.label, 0) + 1
    if cell.role == HIDDEN:
        source = f"### BEGIN HIDDEN TESTS\n{source}\n### END HIDDEN TESTS"
    about = _about(f"{cell.label}-test-{counts[cell.label]}", grade=True, solution=False)
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": about | {"points": 1}})


def _one_by_one(source: str) -> list[str]:
    """A cell of several checks in pieces of one: nbgrader gives a cell all its points or none."""
    return [ast.get_source_segment(source, node) for node in ast.parse(source).body]


def _about(name: str, *, grade: bool, solution: bool) -> dict:
    return {
        "grade": grade,
        "grade_id": name,
        "locked": not solution,
        "schema_version": _SCHEMA,
        "solution": solution,
        "task": False,
    }


def _marked_answer(source: str) -> str:
    function = ast.parse(source).body[0]
    lines, last = source.splitlines(), function.body[0].end_lineno
    indent = " " * function.body[0].col_offset
    return "\n".join(
        [
            *lines[:last],
            f"{indent}### BEGIN SOLUTION",
            *lines[last:],
            f"{indent}### END SOLUTION",
        ]
    )


def _title(sheet: Sheet) -> str:
    return sheet.chapter.partition("_")[2].replace("_", " ").capitalize()

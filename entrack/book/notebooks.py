"""Notebooks as text: sources in, executed notebooks out, the same bytes for the same content.

A chapter is written as `NN_slug.py` (py:percent) and committed a second time as an executed
`NN_slug.ipynb`, which is what GitHub, Colab and the book show. Two executions that measured the
same give the same file, byte for byte: whatever tells of the moment or the machine is dropped here.
"""

import ast
import copy
import re
from pathlib import Path

import jupytext
import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.validator import NotebookValidationError

from entrack.errors import ChapterError

INJECTED = "injected-parameters"  # papermill's tag for the cell that holds the overrides of one run
PARAMETERS = "parameters"
# Cells of an exercise by their tag: code that no chapter's execution runs, and what readers of the
# pages are not shown.
SETUP, ANSWER, CHECK = "exercise-setup", "answer", "check"
HIDDEN, WRONG, TEACHER = "hidden-test", "wrong-answer", "teacher"
EXERCISE_CODE = frozenset({SETUP, ANSWER, CHECK, HIDDEN, WRONG})
NOT_ON_PAGES = frozenset({HIDDEN, WRONG, TEACHER})
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
_VOLATILE = ("papermill", "jupytext", "widgets", "execution", "vscode", "colab")
_CELL_KEYS = ("tags", "mystnb")
_RECORDS = "application/vnd.entrack."
_WIDGET = "application/vnd.jupyter.widget-view+json"


def read_source(path: Path) -> NotebookNode:
    """The py:percent file `path` as a notebook without outputs. Raises ChapterError when it cannot
    be read.
    """
    try:
        return normalise(jupytext.read(path, fmt="py:percent"))
    except (OSError, ValueError, NotebookValidationError) as error:
        reason = getattr(error, "message", error)
        raise ChapterError(
            f"chapter source {path.name} cannot be read ({reason}); a py:percent file is needed."
            " Mend it."
        ) from error


def read_notebook(path: Path) -> NotebookNode:
    """The notebook file `path`. Raises ChapterError when it is damaged."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its schema, JSON and version layers raise
        raise ChapterError(
            f"notebook {path.name} cannot be read ({type(error).__name__}); a Jupyter notebook is"
            f" needed. Make it again: `entrack build --publish {path.stem}`."
        ) from error


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """The file content: JSON with sorted keys and one newline at the end."""
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def normalise(notebook: NotebookNode) -> NotebookNode:
    """A copy without anything that differs between two executions measuring the same.

    Dropped: times and other records of the tools, random cell ids (they count from cell-000), the
    interpreter's version, progress bars that are widgets, and the standard error stream: it tells
    who waits how far things are, and the runner keeps it in a log. Neighbouring pieces of standard
    output become one."""
    result = nbformat.v4.new_notebook()
    result.metadata.update(
        {k: copy.deepcopy(v) for k, v in notebook.metadata.items() if k not in _VOLATILE}
    )
    result.metadata.kernelspec = NotebookNode(_KERNEL)
    result.metadata.language_info = NotebookNode(_LANGUAGE)
    for index, cell in enumerate(notebook.cells):
        plain = NotebookNode(
            cell_type=cell.cell_type,
            id=f"cell-{index:03d}",
            metadata=NotebookNode(
                {k: copy.deepcopy(cell.metadata[k]) for k in _CELL_KEYS if cell.metadata.get(k)}
            ),
            source=cell.source,
        )
        if cell.cell_type == "code":
            plain.execution_count = cell.get("execution_count")
            plain.outputs = _normal_outputs(cell.get("outputs", []))
        result.cells.append(plain)
    return result


def _normal_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in copy.deepcopy(outputs):
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
        elif _WIDGET in output.get("data", {}):
            continue
        kept.append(output)
    return kept


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of code in order, without the one that papermill injects for a run with other
    parameters.
    """
    return [
        c
        for c in notebook.cells
        if c.cell_type == "code" and INJECTED not in c.metadata.get("tags", [])
    ]


def measured_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of code that the chapter's execution runs: all but those of its exercises, whose
    answers and checks the course proves on its own.
    """
    return [cell for cell in code_cells(notebook) if not _of_exercise(cell)]


def executed_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The same in an executed notebook, with the cell of parameters that papermill put in."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in code if not _of_exercise(cell)]


def set_aside(notebook: NotebookNode) -> NotebookNode:
    """A copy whose exercise code is raw text, which no execution runs; `put_back` undoes it."""
    return _retyped(notebook, "code", "raw")


def put_back(notebook: NotebookNode) -> NotebookNode:
    """A copy in which what `set_aside` made raw is code again, without outputs."""
    return _retyped(notebook, "raw", "code")


def _of_exercise(cell: NotebookNode) -> bool:
    return bool(EXERCISE_CODE & set(cell.metadata.get("tags", [])))


def _retyped(notebook: NotebookNode, before: str, after: str) -> NotebookNode:
    result = copy.deepcopy(notebook)
    new = {"raw": nbformat.v4.new_raw_cell, "code": nbformat.v4.new_code_cell}[after]
    for index, cell in enumerate(result.cells):
        if cell.cell_type == before and _of_exercise(cell):
            result.cells[index] = new(cell.source, metadata=cell.metadata, id=cell.id)
    return result


def for_readers(notebook: NotebookNode) -> NotebookNode:
    """A copy without the cells that no page may hold: hidden tests, wrong answers, notes for the
    teacher.
    """
    page = copy.deepcopy(notebook)
    page.cells = [c for c in page.cells if not NOT_ON_PAGES & set(c.metadata.get("tags", []))]
    return page


def parameters_source(notebook: NotebookNode) -> str:
    """The source of the cell tagged `parameters`; "" when the chapter has none."""
    return next(
        (c.source for c in code_cells(notebook) if PARAMETERS in c.metadata.get("tags", [])), ""
    )


def title(notebook: NotebookNode) -> str:
    """The text of the first heading; "" when there is none."""
    lines = (
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
    )
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), "")


def carry_outputs(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """Today's text of a chapter with the outputs of an execution of the same code.

    Prose, comments and tags come from `source`, outputs and counts from `executed`. Raises
    ChapterError when the two do not have the same number of code cells; that the code itself
    agrees is the stamp's business.
    """
    page = copy.deepcopy(source)
    new, old = measured_cells(page), measured_cells(executed)
    if len(new) != len(old):
        raise ChapterError(
            f"the source has {len(new)} code cells and the executed notebook {len(old)}; outputs"
            " can only be carried over to the same code. Execute the chapter again."
        )
    for cell, ran in zip(new, old, strict=True):
        cell.execution_count = ran.execution_count
        cell.outputs = copy.deepcopy(ran.outputs)
    return normalise(page)


def cell_tree(source: str) -> ast.Module:
    """The syntax tree of a cell, IPython's magics and shell escapes understood.

    Raises ChapterError when the cell is not Python.
    """
    try:
        try:
            return ast.parse(source)
        except SyntaxError:
            return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise ChapterError(
            f"a cell is not Python ({error.msg}): `{line}`. Mend the chapter's source."
        ) from None


def with_figures(notebook: NotebookNode) -> NotebookNode:
    """A copy in which the comments that name and caption figures have become figures of MyST-NB.

    Records of this package move from the data of an output, where Sphinx would take them for a
    format that it cannot show, to the output's metadata.

    Raises ChapterError as `figure_comment` does.
    """
    page = copy.deepcopy(notebook)
    for cell in code_cells(page):
        figure, cell.source = figure_comment(cell.source)
        if figure:
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), "figure": figure}
        for output in cell.outputs:
            for kind in [k for k in output.get("data", {}) if k.startswith(_RECORDS)]:
                output.metadata[kind] = output.data.pop(kind)
    return page


_FIGURE = re.compile(r"# figure: (?P<name>[\w-]+)\n# caption: (?P<caption>.+\n(?:#   .+\n)*)")


def figure_comment(source: str) -> tuple[dict[str, str] | None, str]:
    """The figure that a cell's first comment names, and the cell without that comment::

        # figure: fig-depth
        # caption: Relative depth of the heads of each group. Roles such as
        #   {glue:text}`n_heads` may stand in it.

    None where the cell does not begin like this. A caption is a comment, so mending it makes no
    result stale. Raises ChapterError for a figure without a caption.
    """
    match = _FIGURE.match(source)
    if match is None:
        if source.startswith("# figure:"):
            raise ChapterError(
                f"the cell that begins {source.splitlines()[0]!r} has no caption; a line `#"
                " caption: ...` follows the name, and its continued lines begin with `#   `. Write"
                " one."
            )
        return None, source
    caption = " ".join(line.lstrip("# ") for line in match["caption"].splitlines())
    return {"name": match["name"], "caption": caption}, source[match.end() :]

"""The record in each executed notebook of what made its outputs, and the check that it still holds.

A book rendered from stored outputs is only as true as they are fresh. So an executed notebook
carries, in its metadata under `entrack`, digests of everything that could change an output: its
code cells, its parameters, the entrack modules they import (through others too), the model families
they name, and the outputs themselves.

What counts as prose, and so may be edited without executing again: markdown, comments (captions of
figures are comments), cell metadata, and the code of exercises, which the execution leaves out.
Everything else in a code cell is code. Not covered: files that a chapter opens by itself other than
through an entrack module, and package versions, which the stamp records without comparing them."""

import ast
import functools
import hashlib
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from nbformat import NotebookNode

from entrack.book.notebooks import PARAMETERS, cell_tree, executed_cells, measured_cells
from entrack.book.parameters import models_folders, plain
from entrack.errors import StampError
from entrack.store.digests import code_shape, digest, imported_modules, module_digests

KEY = "entrack"
OLDER_PROSE = "its outputs are; `entrack build --publish` brings its prose up to date too"
FORMAT = 1
_VERSIONS = ("entrack", "torch", "transformers")


@dataclass(frozen=True)
class Stamp:
    """What made an executed notebook; all digests are hex.

    Attributes:
        chapter: its name.
        cells, outputs: digests of its code and of its outputs.
        parameters: {name: value}, as executed.
        default: whether these are the values in the source.
        modules: {entrack module: digest}.
        models: {family or family/version: digest of its file or adapter}.
        versions: {package: version}.
        format: of this record.
    """

    chapter: str
    cells: str
    outputs: str
    parameters: dict[str, object]
    default: bool
    modules: dict[str, str]
    models: dict[str, str]
    versions: dict[str, str]
    format: int = FORMAT

    @property
    def inputs(self) -> str:
        """A digest of everything that went in: equal for two executions that should give the
        same.
        """
        return digest(self.chapter, self.cells, self.parameters, self.modules, self.models)


_TYPES = {
    "chapter": str,
    "cells": str,
    "outputs": str,
    "parameters": dict,
    "default": bool,
    "modules": dict,
    "models": dict,
    "versions": dict,
    "format": int,
}


def make_stamp(
    chapter: str, notebook: NotebookNode, parameters: dict, *, default: bool, root: Path
) -> Stamp:
    """The stamp of `notebook`, executed just now and normalised; `root` is the project's folder."""
    parameters = plain(parameters)
    return Stamp(
        chapter=chapter,
        cells=cells_digest(notebook),
        outputs=outputs_digest(notebook),
        parameters=parameters,
        default=default,
        modules=used_modules(notebook, package=root / "entrack"),
        models=used_models(notebook, parameters, root=root),
        versions=_versions(),
    )


def put_stamp(notebook: NotebookNode, stamp: Stamp) -> NotebookNode:
    """`notebook` itself, carrying `stamp`."""
    notebook.metadata[KEY] = NotebookNode(asdict(stamp))
    return notebook


def get_stamp(notebook: NotebookNode) -> Stamp | None:
    """The stamp that `notebook` carries; None when it has none. Raises StampError when it is
    damaged.
    """
    record = notebook.metadata.get(KEY)
    if record is None:
        return None
    for name, kind in _TYPES.items():
        if not isinstance(record, dict) or not isinstance(record.get(name), kind):
            raise StampError(
                f"the stamp's {name!r} is missing or damaged; a {kind.__name__} is needed."
            )
    if record["format"] != FORMAT:
        raise StampError(f"the stamp has format {record['format']}; this entrack writes {FORMAT}.")
    return Stamp(**{name: record[name] for name in _TYPES})


def cells_digest(notebook: NotebookNode) -> str:
    """A digest of the code cells by their syntax trees: prose edits (see the module) leave it as it
    is.
    """
    return digest([cell_digest(cell) for cell in measured_cells(notebook)])


def cell_digest(cell: NotebookNode) -> str:
    """A digest of one code cell. A closing semicolon counts, because it hides the output."""
    shown = [
        code_shape(statement) for statement in cell_tree(cell.source).body
    ]  # statement by statement: a lone text is an output
    return digest(
        shown, cell.source.rstrip().endswith(";"), PARAMETERS in cell.metadata.get("tags", [])
    )


def outputs_digest(notebook: NotebookNode) -> str:
    """A digest of all outputs of code cells, in order."""
    return digest([cell.get("outputs", []) for cell in executed_cells(notebook)])


def used_modules(notebook: NotebookNode, *, package: Path) -> dict[str, str]:
    """{entrack module: digest} of what the code cells import, directly or through other modules."""
    trees = [cell_tree(cell.source) for cell in measured_cells(notebook)]
    return module_digests(
        *{m for t in trees for m in imported_modules(t, package=package)}, package=package
    )


def used_models(notebook: NotebookNode, parameters: dict, *, root: Path) -> dict[str, str]:
    """{family, and family/version for each of its adapters or folders: digest of the files} of
    every family that is named.

    A family is named by a text in a code cell or a parameter that is its name or begins with
    `name/`. All versions of it count, because a chapter may ask for the list.
    """
    trees = [cell_tree(cell.source) for cell in measured_cells(notebook)]
    texts = {
        n.value
        for t in trees
        for n in ast.walk(t)
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    texts |= {value for value in parameters.values() if isinstance(value, str)}
    named = {text.partition("/")[0] for text in texts}
    found = {}
    for models in reversed(models_folders(root)):
        for file in sorted(models.glob("*.json")):
            if file.stem in named:
                found[file.stem] = _files_digest(file)
                for folder in sorted(p for p in (models / file.stem).glob("*") if p.is_dir()):
                    files = sorted(path for path in folder.rglob("*") if path.is_file())
                    found[f"{file.stem}/{folder.name}"] = _files_digest(*files)
    return found


def _files_digest(*files: Path) -> str:
    return digest([(file.name, _file_digest(file, file.stat().st_mtime_ns)) for file in files])


@functools.lru_cache(maxsize=256)
def _file_digest(file: Path, mtime_ns: int) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass(frozen=True)
class State:
    """Whether a chapter's outputs may be shown.

    Attributes:
        name: fresh, stale (the code, parameters, a module or a model changed since), hollow
            (outputs or code of the notebook were edited after its execution), out-of-order, failed,
            unexecuted, or corrupt (its stamp cannot be read).
        reason: why, in words; of a fresh one "", or a note that its prose is older than the source.
    """

    name: str
    reason: str = ""

    @property
    def fresh(self) -> bool:
        return self.name == "fresh"


def check(
    chapter: str,
    source: NotebookNode,
    executed: NotebookNode | None,
    *,
    root: Path,
    parameters: dict | None = None,
) -> State:
    """The state of `executed`, the notebook of the chapter whose text is `source` now; None when
    there is none. `parameters` are those it should have, by default the source's.

    Nothing is executed; costs some milliseconds, and the reading of the adapters named.
    """
    if executed is None:
        return State("unexecuted", "there is no executed notebook")
    cells = executed_cells(executed)
    try:
        stamp = get_stamp(executed)
    except StampError as error:
        return State("corrupt", str(error))
    failed = next(
        (i for i, c in enumerate(cells, 1) if any(o.output_type == "error" for o in c.outputs)),
        None,
    )
    if failed or executed.metadata.get("papermill", {}).get("exception"):
        return State(
            "failed",
            f"code cell {failed} holds an error" if failed else "papermill recorded a failure",
        )
    if stamp is None:
        if any(cell.outputs for cell in cells):
            return State("hollow", "it has outputs and no stamp, so nothing says what made them")
        return State("unexecuted", "its notebook has no outputs")
    counts = [cell.execution_count for cell in cells if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        return State("out-of-order", f"cells were executed in the order {_short(counts)}")
    if outputs_digest(executed) != stamp.outputs:
        return State("hollow", "its outputs were edited after the execution")
    if cells_digest(executed) != stamp.cells:
        return State("hollow", "its code was edited after the execution")
    reasons = list(_stale_reasons(chapter, source, executed, stamp, root, parameters))
    if reasons:
        return State("stale", "; ".join(reasons))
    return State("fresh", "" if _same_text(source, executed) else OLDER_PROSE)


def _same_text(source: NotebookNode, executed: NotebookNode) -> bool:
    return [(c.source, c.metadata) for c in source.cells] == [
        (c.source, c.metadata) for c in executed.cells
    ]


def _short(counts: list) -> str:
    return ", ".join("-" if count is None else str(count) for count in counts)


def _stale_reasons(chapter, source, executed, stamp: Stamp, root: Path, parameters: dict | None):
    if stamp.chapter != chapter:
        yield f"it is an execution of {stamp.chapter}"
    if not (stamp.default if parameters is None else stamp.parameters == plain(parameters)):
        whose = "the defaults" if parameters is None else "its edition's"
        yield f"parameters: it was executed with others than {whose}"
    if cells_digest(source) != stamp.cells:
        now, then = (
            [cell_digest(cell) for cell in measured_cells(text)] for text in (source, executed)
        )
        changed = [str(i) for i, (a, b) in enumerate(zip(now, then, strict=False), 1) if a != b]
        if len(now) != len(then):
            yield f"{len(then)} code cells became {len(now)}"
        else:
            yield f"code cell{'s' if len(changed) > 1 else ''} {', '.join(changed)} changed"
    yield from _differences("module", stamp.modules, used_modules(source, package=root / "entrack"))
    yield from _differences("model", stamp.models, used_models(source, stamp.parameters, root=root))


def _differences(kind: str, then: dict[str, str], now: dict[str, str]):
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            verb = (
                "changed"
                if name in then and name in now
                else "is new"
                if name in now
                else "is gone"
            )
            yield f"{kind} {name} {verb}"

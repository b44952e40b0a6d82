"""The chapters of the book: which there are, what they take, and whether their outputs may be
shown.

A chapter is `notebooks/NN_slug.py`, or `A1_slug.py` in the appendix; its executed twin
`NN_slug.ipynb` lies beside it. The project's folder is the one that holds the package (an editable
installation, so a clone); the environment variable `ENTRACK_ROOT` names another, whose own
`entrack/`, `models/` and `notebooks/` then count.
"""

import ast
import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nbformat import NotebookNode

from entrack.book.freshness import State, check, used_modules
from entrack.book.notebooks import (
    cell_tree,
    code_cells,
    parameters_source,
    read_notebook,
    read_source,
    title,
)
from entrack.book.parameters import Parameter, Value, models_folders, parse, read_all
from entrack.errors import ChapterError, ParameterError

NUMBER = "[0-9A-Z][0-9]"
"""What a chapter's name begins with: two digits, or a letter and a digit in the appendix."""
_ASKS_FOR_RECIPES = "entrack.across.checkpoints"
"""A chapter that uses this module asks which recipe made a version."""
_GLUE = "application/papermill.record/text/plain"


@dataclass(frozen=True)
class Edition:
    """Sizes for the whole book.

    Attributes:
        name: "full", whose values stand in the chapters' sources and whose notebooks are committed,
            or "quick", whose values stand in `notebooks/quick.toml`.
        values: {chapter: {parameter: value}}, those equal to the source's left out.
    """

    name: str = "full"
    values: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    @property
    def published(self) -> bool:
        """Whether its notebooks are those beside the sources."""
        return self.name == FULL.name

    def of(self, chapter: "Chapter") -> Mapping[str, Value]:
        """{parameter: value} of one chapter; empty where it has the source's values."""
        return self.values.get(chapter.name, {})


FULL = Edition()
EDITIONS = ("full", "quick")


@dataclass(frozen=True)
class Project:
    """The folders of one clone. `build` and `runs` are git-ignored; nothing else is written to
    unless asked for.
    """

    root: Path

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def build(self) -> Path:
        return self.root / "_build"

    @property
    def executed(self) -> Path:
        """Notebooks executed on this machine by `entrack build`."""
        return self.build / "executed"

    @property
    def runs(self) -> Path:
        """Notebooks executed by `entrack run`, and those that failed."""
        return self.root / "runs"

    def chapters(self) -> list["Chapter"]:
        """All chapters in order. Raises ChapterError when the folder is not a clone of the book."""
        if not self.notebooks.is_dir():
            raise ChapterError(
                f"no notebooks folder in {self.root}; the chapters live in a clone of the"
                " repository. Install it there with `pip install -e .`, or set ENTRACK_ROOT to it."
            )
        return [Chapter(self, path) for path in sorted(self.notebooks.glob(f"{NUMBER}_*.py"))]

    def folder(self, edition: Edition) -> Path:
        """Where the notebooks of an edition that were executed on this machine are kept."""
        return self.executed if edition.published else self.build / edition.name

    def edition(self, name: str) -> Edition:
        """The edition called `name`, one of EDITIONS.

        Raises ParameterError when its file is missing, is no TOML, names an unknown chapter or
        parameter, or gives a value that the parameters cell does not allow."""
        if name == FULL.name:
            return FULL
        path = self.notebooks / f"{name}.toml"
        try:
            tables = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise ParameterError(
                f"no {path.name} in {self.notebooks}; the {name} edition has its sizes there."
                " Restore it from the repository."
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise ParameterError(f"{path.name} is no TOML: {error}. Correct the file.") from None
        values = {}
        for title_, table in tables.items():
            try:
                chapter = self.find(title_)
                if not isinstance(table, dict):
                    raise ParameterError(f"{title_} is no table; [{chapter.name}] begins one.")
                values[chapter.name] = chapter.accepted(table)
            except ParameterError as error:
                raise ParameterError(f"{path.name}: {error}") from None
        return Edition(name, values)

    def find(self, text: str) -> "Chapter":
        """The chapter meant by `text`: its number, its name, or a file name. Raises ParameterError
        for any other.
        """
        chapters = {chapter.name: chapter for chapter in self.chapters()}
        wanted = Path(text).name.removesuffix(".py").removesuffix(".ipynb")
        wanted = wanted.zfill(2) if wanted.isdigit() else wanted
        for chapter in chapters.values():
            if wanted in (chapter.name, *chapter.name.split("_", 1)):
                return chapter
        near = difflib.get_close_matches(wanted, [*chapters, *(name[3:] for name in chapters)], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "`entrack chapters` lists them."
        raise ParameterError(
            f"no chapter {text!r}; there are {', '.join(chapters) or 'none'}. {hint}"
        )


def project() -> Project:
    """The project that this package belongs to, or the one that `ENTRACK_ROOT` names."""
    return Project(Path(os.environ.get("ENTRACK_ROOT") or Path(__file__).parents[2]).resolve())


@dataclass(frozen=True)
class Chapter:
    """One chapter; its source is read once per object."""

    project: Project
    path: Path

    @property
    def name(self) -> str:
        """`NN_slug`."""
        return self.path.stem

    @property
    def notebook(self) -> Path:
        """The committed, executed twin; it need not exist."""
        return self.path.with_suffix(".ipynb")

    @cached_property
    def source(self) -> NotebookNode:
        """The source as a notebook without outputs; never edit it in place.

        Raises ChapterError when it cannot be read or a cell is not Python.
        """
        source = read_source(self.path)
        try:
            for cell in code_cells(source):
                cell_tree(cell.source)
        except ChapterError as error:
            raise ChapterError(f"chapter {self.name}: {error}") from error
        return source

    @property
    def title(self) -> str:
        return title(self.source) or self.name

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the cell tagged `parameters` declares; empty when there is none."""
        try:
            return parse(parameters_source(self.source))
        except (ChapterError, SyntaxError) as error:
            raise ChapterError(f"chapter {self.name}: {error}") from error

    def values(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """{parameter: value} for `texts`, as typed on a command line; those equal to their defaults
        are left out.

        Raises ParameterError for an unknown name, a value not allowed, a family or version that is
        not there, and a family of which the chapter cannot know how it was trained."""
        values = read_all(self.parameters, texts, chapter=self.name)
        models = models_folders(self.project.root)
        for name in {"family", "model"} & values.keys():
            _check_model_name(f"{name}={values[name]}", str(values[name]), models)
        if _ASKS_FOR_RECIPES in used_modules(self.source, package=self.project.root / "entrack"):
            for name in {"family", "siblings"} & values.keys():
                _check_recipes(f"chapter {self.name}", str(values[name]).split(), models)
        return values

    def accepted(self, given: Mapping[str, object]) -> dict[str, Value]:
        """{parameter: value} for values of the right kinds, those equal to their defaults left out.

        Raises ParameterError for an unknown name and a value not allowed."""
        known = {parameter.name: parameter for parameter in self.parameters}
        read_all(self.parameters, {n: "" for n in given if n not in known}, chapter=self.name)
        values = {name: known[name].accept(value) for name, value in given.items()}
        return {name: value for name, value in values.items() if value != known[name].default}

    def state(
        self, notebook: NotebookNode | None = None, values: Mapping[str, Value] | None = None
    ) -> State:
        """The state of the committed notebook, or of `notebook` where one is given, as an execution
        with `values`, by default the source's.
        """
        try:
            notebook = notebook or self.read(self.notebook)
        except ChapterError as error:
            return State("corrupt", str(error))
        every = {parameter.name: parameter.default for parameter in self.parameters}
        wanted = every | dict(values) if values else None
        return check(self.name, self.source, notebook, root=self.project.root, parameters=wanted)

    @staticmethod
    def read(path: Path) -> NotebookNode | None:
        """The notebook at `path`; None when there is no file."""
        return read_notebook(path) if path.exists() else None


def _check_model_name(given: str, name: str, models: Sequence[Path]) -> None:
    """Refuse at once what no loading could find; a folder and a hub id (`org/name`) are left to the
    loading.
    """
    families = _family_files(models)
    family, _, version = name.partition("/")
    if family in families:
        allowed = list(json.loads(families[family].read_bytes()).get("versions", {}))
        if version and version not in allowed:
            raise ParameterError(
                f"{given} is not a version of {family}; there are {', '.join(allowed)}. Name one."
            )
    elif not Path(name).is_dir() and name.count("/") != 1:
        near = difflib.get_close_matches(name, families, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Name one of them."
        known = ", ".join(families) or "none"
        raise ParameterError(
            f"{given} is not known; there are {known}, and any folder or hub id. {hint}"
        )


def _check_recipes(chapter: str, named: Sequence[str], models: Sequence[Path]) -> None:
    """Refuse a family that repeats another one and has no recipes in the package: the chapter would
    take its versions for models that were trained on neither task.
    """
    # Slow to import, and no other command of this module needs it.
    from entrack.finetune.recipes import RECIPES

    files = _family_files(models)
    for family in (f for f in named if f in files):
        repeats = json.loads(files[family].read_bytes()).get("repeats")
        if repeats and family not in RECIPES:
            raise ParameterError(
                f"{chapter} asks how each version was trained, and the recipes of {family} stand"
                " only in its file, which repeats those of another family. Name another family, or"
                " write them into entrack/finetune/recipes.py."
            )


def _family_files(models: Sequence[Path]) -> dict[str, Path]:
    """{family: its file}; of two files of one name that in the folder named first."""
    return {
        path.stem: path for folder in reversed(models) for path in sorted(folder.glob("*.json"))
    }


def glued(notebook: NotebookNode) -> dict[str, object]:
    """{name: value} of everything that the notebook's cells glue for the prose, in their order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    records = (
        (o.metadata.get("scrapbook", {}).get("name"), o.data.get(_GLUE))
        for o in outputs
        if "data" in o
    )
    return {name: ast.literal_eval(text) for name, text in records if name and text is not None}

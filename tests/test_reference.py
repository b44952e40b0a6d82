"""The reference pages list what a user calls: all of it, and nothing that is gone or private."""

import argparse
import ast
import importlib.util
import inspect
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

import entrack
from entrack.cli import parser

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(entrack.__file__).parent
PAGES = sorted((ROOT / "book" / "reference").glob("*.md"))
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9A-Z][0-9]_*.py"))
MODULES = {
    ".".join(("entrack", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}
LINE = re.compile(r"^\.\. (currentmodule|auto\w+):: (\S+)$", re.MULTILINE)
KINDS = {
    "autofunction": ast.FunctionDef,
    "autoclass": ast.ClassDef,
    "autoexception": ast.ClassDef,
    "autodata": (ast.Assign, ast.AnnAssign),
}


@dataclass(frozen=True)
class Entry:
    """One object that a page describes."""

    page: str
    directive: str
    module: str
    name: str


def entries(page: str, text: str) -> list[Entry]:
    found, module = [], ""
    for directive, name in LINE.findall(text):
        if directive == "currentmodule":
            module = name
        else:
            found.append(Entry(page, directive, module, name))
    return found


ENTRIES = [entry for path in PAGES for entry in entries(path.stem, path.read_text())]
LISTED = {(entry.module, entry.name) for entry in ENTRIES}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def definitions(module: str) -> dict[str, ast.stmt]:
    """What a module defines at its top level, by name."""
    found: dict[str, ast.stmt] = {}
    for node in tree(MODULES[module]).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            found |= dict.fromkeys(names, node)
    return found


def used(source: ast.Module) -> set[tuple[str, str]]:
    """(module, name) of what some code takes from the package's modules."""
    found, aliases = set(), {}
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("entrack"):
            for name in node.names:
                module = f"{node.module}.{name.name}"
                if module in MODULES:
                    aliases[name.asname or name.name] = module
                else:
                    found.add((node.module, name.name))
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in aliases:
                found.add((aliases[node.value.id], node.attr))
    return found


def used_within(module: str) -> set[tuple[str, str]]:
    """(module, name) of what a module's own functions and classes take from their module."""
    return {
        (module, node.id)
        for definition in tree(MODULES[module]).body
        for node in ast.walk(definition)
        if isinstance(node, ast.Name) and node.id != getattr(definition, "name", None)
    }


IN_CHAPTERS = {name for path in CHAPTERS for name in used(tree(path))}
IN_PACKAGE = {
    name for module, path in MODULES.items() for name in used(tree(path)) | used_within(module)
}


def left_out_wrongly(listed: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Public functions and classes of the listed modules that a page must describe and none does:
    those that the package itself does not call, so that nobody would know of them.
    """
    return [
        (module, name)
        for module in sorted({module for module, _ in listed})
        for name, node in definitions(module).items()
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not name.startswith("_")
        and (module, name) not in listed
        and (module, name) not in IN_PACKAGE
    ]


def test_every_page_is_in_the_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    part = next(part for part in toc["parts"] if part.get("caption") == "Reference")
    names = [entry["file"].removeprefix("book/reference/") for entry in part["chapters"]]
    assert sorted(names) == [path.stem for path in PAGES]


def test_every_room_has_its_page():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == {path.stem for path in PAGES} - {"overview", "command_line"}
    for entry in ENTRIES:
        room = entry.module.split(".")[1]
        # Modules beside the rooms: heads are told of with the model.
        room = {"sites": "model", "rejudged": "circuit", "lineages": "finetune"}.get(room, room)
        assert entry.page in {room, room.removesuffix("s"), "overview"}, entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.module}.{entry.name}")
def test_what_a_page_describes_is_there_and_has_words(entry):
    assert not entry.name.startswith("_")
    node = definitions(entry.module).get(entry.name)
    assert isinstance(node, KINDS[entry.directive]), (
        f"{entry.page}.md has {entry.directive} {entry.name}; {entry.module} defines no such thing."
        " Was it moved or renamed?"
    )
    if entry.directive != "autodata":
        assert ast.get_docstring(node), f"{entry.module}.{entry.name} has no docstring"


def test_nothing_is_described_twice():
    assert len(LISTED) == len(ENTRIES)


def test_what_a_chapter_calls_is_described():
    missing = {
        (module, name)
        for module, name in IN_CHAPTERS - LISTED
        if isinstance(definitions(module).get(name), ast.FunctionDef | ast.ClassDef)
    }
    assert not missing, "put these on a page of book/reference"


def test_what_no_page_describes_is_called_by_the_package_itself():
    assert not left_out_wrongly(LISTED), "put these on a page of book/reference, or delete them"


def test_a_function_that_nobody_would_know_of_is_found():
    only_users = {
        (entry.module, entry.name)
        for entry in ENTRIES
        if entry.directive != "autodata" and (entry.module, entry.name) not in IN_PACKAGE
    }
    assert only_users
    for entry in only_users:
        others = LISTED - {entry}
        if any(module == entry[0] for module, _ in others):
            assert left_out_wrongly(others) == [entry]


def test_a_name_that_is_gone_is_found():
    (entry,) = entries(
        "task", ".. currentmodule:: entrack.task.boxes\n.. autofunction:: no_such_function\n"
    )
    with pytest.raises(AssertionError, match="Was it moved or renamed"):
        test_what_a_page_describes_is_there_and_has_words(entry)


def test_code_on_a_page_takes_what_there_is():
    blocks = [
        block
        for path in PAGES
        for block in re.findall(
            r"```\{code-block\} python\n:class: wraps\n(.*?)```", path.read_text(), re.DOTALL
        )
    ]
    assert blocks
    for block in blocks:
        names = used(ast.parse(block))
        assert names
        for module, name in names:
            assert name in definitions(module), (module, name)


# -- how the docstrings are read
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension():
    path = ROOT / "book" / "_ext" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference_extension", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sections_become_lists_and_signs_stay_signs(extension):
    def score(n, *, seed=0):
        """Score `n` heads, as `sites.Head` and `other_name` say, with n**2 * 3 passes; a |x| of x_.

        Args:
            n, seed: how many, and
                which.

        Typed as it stands:

            first  *
            second

        Returns: nothing: really.

        Raises:
            SiteError: no such head.
        """

    lines = inspect.getdoc(score).split("\n")
    extension.process_docstring(None, "function", "score", score, None, lines)
    assert "\n".join(lines) == (
        "Score ``n`` heads, as :py:obj:`.sites.Head` and :py:obj:`other_name` say, with"
        " n\\*\\*2 \\* 3 passes; a \\|x\\| of x\\_.\n\n"
        ":Parameters:\n    * **n**, **seed** – how many, and which.\n\n"
        "Typed as it stands:\n\n"
        "::\n\n    first  *\n    second\n\n"
        "Returns: nothing: really.\n\n"
        ":Raises:\n    * :py:exc:`.SiteError` – no such head.\n"
    )


def test_the_page_of_the_command_is_its_own_help(extension, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = extension.CommandLine.run(None)
    texts = [block.astext() for node in shown for block in node.findall() if is_literal(block)]
    monkeypatch.setenv("COLUMNS", extension.HELP_WIDTH)
    top = parser()
    commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
    assert len(commands) > 3
    helps = [command.format_help().rstrip() for command in (top, *commands.values())]
    assert texts == helps
    assert max(len(line) for text in texts for line in text.splitlines()) <= 76


def is_literal(node) -> bool:
    return type(node).__name__ == "literal_block"

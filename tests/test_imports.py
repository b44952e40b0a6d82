"""The package's shape: data flows one way, hooks are registered in one place, modules stay
readable.
"""

import ast
from pathlib import Path

import pytest

import entrack
from entrack.store.digests import imported_modules

PACKAGE = Path(entrack.__file__).parent
MODULES = {
    ".".join(("entrack", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# A module imports only from lines above its own; modules on one line know nothing of each other,
# but the modules of one subpackage (a name ending in a dot) may stand on each other, in no circle.
LAYERS = [
    ["entrack"],
    ["errors"],
    ["course_errors"],
    ["task.boxes", "store.", "sites"],
    ["task.", "stats."],
    ["model."],
    ["versions."],
    ["circuits"],
    ["patching."],
    ["cross_model."],
    ["circuit."],
    ["rejudged"],
    ["heads."],
    ["paper."],
    ["display."],
    ["figures."],
    ["tables."],
    ["finetune."],
    ["lineages"],
    ["across."],
    ["book."],
    ["record."],
    ["course."],
    ["sessions."],
    ["course_commands"],
    ["family_run", "sweep."],
    ["cli"],
]
MAX_LINES = 300
MAX_FILES = 10


def rank(module: str) -> int | None:
    """The line of LAYERS that `module` stands on; None when it stands on none."""
    name = module.removeprefix("entrack.")
    names = (name, name.partition(".")[0] + ".")
    return next((i for i, layer in enumerate(LAYERS) if any(n in layer for n in names)), None)


def imports(module: str) -> list[str]:
    path = MODULES[module]
    within = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return [
        name
        for name in imported_modules(ast.parse(path.read_text()), within=within)
        if name != module
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_place_in_the_order(module):
    assert rank(module) is not None, f"give {module} a line in LAYERS"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_above(module):
    folder = module.split(".")[:2] if len(module.split(".")) > 2 else None
    for name in imports(module):
        if name.split(".")[:2] != folder:
            assert rank(name) < rank(module), f"{module} imports {name}"


def test_no_module_imports_itself_through_others():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in imports(module):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_an_import_that_runs_against_the_order_would_be_seen():
    assert imported_modules(ast.parse("def f():\n    from entrack.cli import main")) == [
        "entrack.cli"
    ]
    assert rank("entrack.cli") > rank("entrack.display.cells") > rank("entrack.task.boxes")


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"entrack.model.hooks"}))
def test_hooks_are_registered_in_one_module_only(module):
    assert not registrations(MODULES[module].read_text())


def registrations(source: str) -> list[str]:
    names = [getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(ast.parse(source))]
    return [name for name in names if name.startswith("register_") and name.endswith("hook")]


def test_the_search_for_hooks_finds_those_that_there_are():
    assert registrations(MODULES["entrack.model.hooks"].read_text())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_enough_to_read(module):
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("room", sorted({path.parent for path in MODULES.values()} - {PACKAGE}))
def test_a_room_holds_few_modules(room):
    modules = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_FILES, f"{room.name}: {', '.join(sorted(modules))}"

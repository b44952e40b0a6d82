"""How much of a chapter's code only reports what was measured."""

import ast
import re
from collections.abc import Iterator

from entrack.book.notebooks import EXERCISE_CODE

DISPLAY = {"show", "judge", "glue"}
WORDS = ("display", "figures", "tables", "paper.claims", "paper.findings", "paper.published")
"""Rooms and modules that make words, rows and drawings of what was measured."""
REACHED = {
    "01_task": 0.53,
    "03_circuit": 0.50,
    "04_same_circuit": 0.38,
    "05_information_flow": 0.51,
    "07_what_counts_as_position": 0.36,
    "08_what_improved": 0.43,
    "09_as_published": 0.41,
    "13_two_tasks": 0.35,
    "15_stability": 0.36,
}
"""Chapters above a third -> the share that they have. What reports in them is one line for each
figure, table, claim and number of the prose, and their experiments are calls of a line or two."""


def reporting_share(source: str) -> float:
    """Lines of reporting over all lines of code, of a chapter as py:percent, 0 to 1.

    Lines that are blank or hold only a comment do not count, nor does the cell of parameters. A
    statement at the top level of a cell reports if

    - it calls `show`, `judge` or `glue`, or is an `if`, `for` or `with` around such calls and
      nothing else; or
    - it only prepares words or rows for one: all that it names (by assignment, or as a function) is
      used by nothing but statements that report, and it calls no function of the package but those
      of WORDS.

    So a call of an experiment never counts as reporting, even if its result is only shown, and an
    import does not either."""
    tree = ast.parse(without_parameters(source))
    statements = tree.body
    measuring, text = experiments(statements), without_parameters(source).splitlines()
    reports: set[int] = set()
    while True:
        more = {
            i
            for i, statement in enumerate(statements)
            if i not in reports
            and (shows(statement) or prepares(i, statements, reports, measuring))
        }
        if not more:
            break
        reports |= more
    lines = [length(text[s.lineno - 1 : s.end_lineno]) for s in statements]
    return sum(lines[i] for i in reports) / sum(lines)


def without_parameters(source: str) -> str:
    """A chapter without the cell that is tagged so, and without those of exercises, which no
    execution runs; cells start with "# %%".
    """
    cells, tags = re.split(r"(?m)^(?=# %%)", source), {"parameters", *EXERCISE_CODE}
    first_lines = (set(re.findall(r'"([\w-]+)"', cell.partition("\n")[0])) for cell in cells)
    return "".join(cell for cell, found in zip(cells, first_lines, strict=True) if not tags & found)


def length(lines: list[str]) -> int:
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


def shows(statement: ast.stmt) -> bool:
    """Whether its outermost call is one of DISPLAY, or those of all that it holds are."""
    if isinstance(statement, ast.If | ast.For | ast.With):
        return all(map(shows, [*statement.body, *getattr(statement, "orelse", [])]))
    call = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr)
        and isinstance(call, ast.Call)
        and getattr(call.func, "id", "") in DISPLAY
    )


def prepares(
    index: int, statements: list[ast.stmt], reports: set[int], measuring: set[str]
) -> bool:
    """Whether it names what only statements that report use, and calls no experiment."""
    statement = statements[index]
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Expr):
        return False
    named, users = set(names(statement, ast.Store)), set()
    if isinstance(statement, ast.FunctionDef):
        named = {statement.name}
    users = {i for i, s in enumerate(statements) if i != index and named & {*names(s, ast.Load)}}
    return bool(users) and users <= reports and not measuring & {*names(statement, ast.Load)}


def names(statement: ast.stmt, context: type) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, context):
            yield node.id


def experiments(statements: list[ast.stmt]) -> set[str]:
    """Names of functions and modules that a chapter imports from rooms other than WORDS."""
    found = set()
    for statement in statements:
        if isinstance(statement, ast.ImportFrom) and statement.module.startswith("entrack"):
            for name in statement.names:
                module = f"{statement.module}.{name.name}".removeprefix("entrack.")
                if not module.startswith(WORDS) and not name.name.isupper():
                    found.add(name.asname or name.name)
    return found

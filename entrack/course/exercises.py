"""One exercise and its code, by syntax trees: the stub that an answer leaves, what checks hold."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from entrack.book.notebooks import cell_tree
from entrack.course_errors import ExerciseError

KINDS = ("predict", "write", "measure", "criticise")
_SLIP = re.compile(r"# slip: (?P<slip>.+\n(?:#   .+\n)*)")


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        label, title, kind: kind is one of KINDS, or "" for one that is answered in words.
        function: the name of the answer's function, or "".
        answer, stub: its code, and the code that students start from; "" where it is in words.
        setup, checks, hidden: cells' code, in order.
        wrong: {which slip it is: code} of answers that a visible check must catch.
    """

    label: str
    title: str
    kind: str
    function: str = ""
    answer: str = ""
    stub: str = ""
    setup: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """How many checks, visible and hidden, an answer is held to."""
        return self.visible_points + len(sentences(self.hidden))

    @property
    def visible_points(self) -> int:
        """How many of them students see."""
        return len(sentences(self.checks))


def function_of(label: str, source: str) -> str:
    """The name of the one function that an answer is.

    Raises ExerciseError when the cell holds anything else, or the function has no docstring."""
    body = cell_tree(source).body
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise ExerciseError(
            f"the answer of {label} is not one function; one `def` and nothing else is needed."
            " Put imports into a cell tagged `exercise-setup`."
        )
    return body[0].name


def stub_of(label: str, source: str) -> str:
    """The answer without its body: decorators, signature and docstring as they are written, and a
    line that raises NotImplementedError with the label.

    Raises ExerciseError for a function without a docstring, or with nothing but one."""
    function = cell_tree(source).body[0]
    if ast.get_docstring(function) is None or len(function.body) < 2:
        raise ExerciseError(
            f"the answer of {label} has no docstring or no body; students see the docstring, and"
            " the body is the solution. Write both."
        )
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    kept = source.splitlines()[first - 1 : function.body[0].end_lineno]
    indent = " " * function.body[0].col_offset
    return "\n".join([*kept, f'{indent}raise NotImplementedError("{label}")'])


def code_lines(source: str, *, longer_than: int = 20) -> list[str]:
    """The lines of code, stripped, that are long enough to tell one solution from another."""
    stripped = (line.strip() for line in source.splitlines())
    return [line for line in stripped if len(line) > longer_than and not line.startswith("#")]


def sentences(cells: tuple[str, ...]) -> list[str]:
    """The sentences of all checks in some cells' code, in order."""
    return [sentence for source in cells for _, sentence, _ in _checks(source)]


def calls_of_check(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls of `check` in some code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "check":
                yield node


def _checks(source: str) -> list[tuple[str, str, ast.With]]:
    """(label, sentence, block) of the top-level `with check(...)` of a cell; "" for what is no
    literal text.
    """
    found = []
    for node in cell_tree(source).body:
        call = node.items[0].context_expr if isinstance(node, ast.With) else None
        if call is not None and call in list(calls_of_check(node)):
            texts = [a.value if isinstance(a, ast.Constant) else "" for a in call.args]
            label, sentence = (str(text) for text in (*texts, "", "")[:2])
            found.append((label, sentence, node))
    return found


def refuse_bad_checks(
    label: str, role: str, cells: tuple[str, ...], least: int, function: str
) -> None:
    """Raise ExerciseError unless the cells hold `least` checks or more of this label and nothing
    else, each with its own sentence, an assertion and a use of `function`.
    """
    checks = [found for source in cells for found in _checks(source)]
    if len(checks) < least:
        raise ExerciseError(
            f"{label} has {len(checks)} checks in cells tagged {role}; {least} or more are needed,"
            f' each `with check("{label}", "what must hold"):`. Write them.'
        )
    for source in cells:
        if len(cell_tree(source).body) != len(_checks(source)):
            raise ExerciseError(
                f"a cell tagged {role} of {label} holds code outside `with check(...)`; only checks"
                " may stand there. Move the code into the blocks or the set-up."
            )
    for named, sentence, block in checks:
        if named != label:
            raise ExerciseError(
                f"a check of {label} is called {named!r}; the label of its cell is needed. Mend it."
            )
        if not sentence or sentence.endswith("."):
            raise ExerciseError(
                f"a check of {label} says {sentence!r}; a sentence as plain text without a full"
                " stop is needed. Write what must hold."
            )
        names = {n.id for n in ast.walk(block) if isinstance(n, ast.Name)}
        if function not in names or not any(isinstance(n, ast.Assert) for n in ast.walk(block)):
            raise ExerciseError(
                f"the check {sentence!r} of {label} tests nothing; an `assert` and a call of"
                f" {function} are needed. Mend it."
            )
    said = [sentence for _, sentence, _ in checks]
    if len(set(said)) < len(said):
        raise ExerciseError(f"two checks of {label} say the same; word one of them otherwise.")


def wrong_answer(label: str, source: str, function: str) -> tuple[str, str]:
    """(which slip it is, its code). Raises ExerciseError where the first line does not say which,
    and where it is not the same function.
    """
    match = _SLIP.match(source)
    if match is None:
        raise ExerciseError(
            f"a wrong answer of {label} does not say which slip it is; `# slip: ...` is its first"
            " line. Write it."
        )
    if function_of(label, source) != function:
        raise ExerciseError(
            f"a wrong answer of {label} defines another function than {function}. Rename it."
        )
    return " ".join(line.lstrip("# ") for line in match["slip"].splitlines()), source

"""The parameters of a chapter, read from its source: names, types, defaults, help, and what each
may be.

A chapter's cell tagged `parameters` declares them, one a line, and is the only place that does:

    n_prompts: int = 140            # prompts per model [14, 7000]
    format: str = "alternative"     # text format {alternative, standard}

The comment ends with the closed range `[low, high]` or the `{choices}`; the rest of it is the help.
The cell is read from its syntax tree, never executed. What does not fit the declaration is refused
before anything runs: papermill itself only warns of an unknown name and then runs a whole chapter
with its defaults."""

import ast
import difflib
import io
import math
import os
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrack.errors import ChapterError, ParameterError

Value = bool | int | float | str | tuple | None

_KINDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}
_TYPES = {"int": int, "float": float, "bool": bool, "str": str}
_RANGE = re.compile(
    r"\[\s*(-?[\d._]+(?:[eE][+-]?\d+)?)\s*,\s*(-?[\d._]+(?:[eE][+-]?\d+)?)\s*\]\s*$"
)
_CHOICES = re.compile(r"\{([^{}]*)\}\s*$")


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Attributes:
        name: as in the source.
        kind: "int", "float", "bool" or "str"; of each item when `many`.
        default: the value in the source.
        help: the comment without its range or choices; "" when there is none.
        low, high: the closed range of a number; None when the comment gives none.
        choices: the allowed values; empty when any value of the kind is.
        many: a tuple of values, written with commas (`layers=2,3`).
        optional: may also be None.
    """

    name: str
    kind: str
    default: Value
    help: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    many: bool = False
    optional: bool = False

    @property
    def allowed(self) -> str:
        """What a value may be, as the middle of a sentence: "an integer in [14, 7000]"."""
        kind = _KINDS[self.kind]
        if self.choices:
            kind = "one of " + ", ".join(map(str, self.choices))
        if self.low is not None:
            kind += (
                f" in [{self.low:g}, {self.high:g}]"
                if self.kind == "float"
                else f" in [{self.low}, {self.high}]"
            )
        if self.many:
            kind = f"several, with commas between, each {kind}"
        return f"{kind}, or None" if self.optional else kind

    @property
    def shown_default(self) -> str:
        """The default as one would type it."""
        return ",".join(map(str, self.default)) if self.many else str(self.default)

    def read(self, text: str) -> Value:
        """The value that `text`, as typed on a command line, stands for; raises ParameterError if
        it is not allowed.
        """
        if self.optional and text == "None":
            return None
        if self.many:
            return tuple(
                self._read_one(item.strip(), text)
                for item in text.strip("()[] ").split(",")
                if item.strip()
            )
        return self._read_one(text, text)

    def _read_one(self, item: str, text: str) -> Value:
        try:
            value = _truth(item) if self.kind == "bool" else _TYPES[self.kind](item)
        except ValueError:
            raise self._refusal(text, f"is not {_KINDS[self.kind]}") from None
        problem = self._problem(value)
        if problem:
            raise self._refusal(text, problem)
        return value

    def accept(self, value: object) -> Value:
        """`value`, as a TOML file holds it, where the declaration allows it; else ParameterError.

        A list stands for a tuple, an integer for a number; a text in place of a number is refused.
        """
        listed = value if self.many and isinstance(value, list) else [value]
        kinds = (float, int) if self.kind == "float" else (_TYPES[self.kind],)
        if self.many != isinstance(value, list) or not all(type(v) in kinds for v in listed):
            raise self._refusal(repr(value), f"is not {_KINDS[self.kind]}")
        return self.read(",".join(map(str, listed)))

    def _refusal(self, text: str, problem: str) -> ParameterError:
        return ParameterError(
            f"{self.name}={text} {problem}; allowed is {self.allowed}. Try"
            f" {self.name}={self.shown_default}."
        )

    def _problem(self, value: Value) -> str:
        """Why one value of the right kind is not allowed; "" when it is."""
        if self.choices and value not in self.choices:
            return "is not a choice"
        if isinstance(value, float) and not math.isfinite(value):
            return "is not a finite number"
        if self.low is not None and not self.low <= value <= self.high:
            return "is out of range"
        return ""

    def check_default(self) -> None:
        """Raise ChapterError when the default contradicts the declaration: the source is wrong, not
        the user.
        """
        if self.default is None and self.optional:
            return
        for value in self.default if self.many else (self.default,):
            right_kind = type(value) is _TYPES[self.kind] or (
                self.kind == "float" and type(value) is int
            )
            if not right_kind or self._problem(value):
                raise ChapterError(
                    f"parameter {self.name} = {self.default!r} contradicts its declaration; "
                    f"allowed is {self.allowed}. Mend the parameters cell."
                )


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def parse(source: str) -> tuple[Parameter, ...]:
    """The parameters that a cell's `source` declares, in its order; nothing is executed.

    Raises ChapterError for a line that is not `name: type = literal`, for a type other than int,
    float, bool, str, `tuple[<one of them>, ...]` or `<one of them> | None`, and for a default
    outside its own range."""
    comments = {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for node in ast.parse(source).body:
        found.append(_declared(node, comments.get(node.end_lineno, "")))
        found[-1].check_default()
    return tuple(found)


def _declared(node: ast.stmt, comment: str) -> Parameter:
    try:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            raise ValueError
        kind, many, optional = _read_type(ast.unparse(node.annotation))
        default = ast.literal_eval(node.value)
    except (ValueError, TypeError, AttributeError):
        raise ChapterError(
            f"the parameters cell holds `{ast.unparse(node)}`; only `name: type = literal` may"
            " stand there, with the types int, float, bool, str, tuple[...] of one of them, or one"
            " of them | None. Move it to the next cell."
        ) from None
    low, high, choices = None, None, ()
    try:
        if match := _RANGE.search(comment):
            low, high = (_TYPES[kind](bound) for bound in match.groups())
        elif match := _CHOICES.search(comment):
            choices = tuple(_TYPES[kind](item.strip().strip("'\"")) for item in match[1].split(","))
    except ValueError:
        raise ChapterError(
            f"parameter {node.target.id}: {match[0]!r} does not fit its type; {_KINDS[kind]} is"
            " needed. Mend the parameters cell."
        ) from None
    words = comment[: match.start()].rstrip() if match else comment
    if many and isinstance(default, list):
        default = tuple(default)
    return Parameter(node.target.id, kind, default, words, low, high, choices, many, optional)


def _read_type(text: str) -> tuple[str, bool, bool]:
    match = re.fullmatch(r"(tuple|list)\[(\w+)(?:, \.\.\.)?\]|(\w+)( \| None)?", text)
    kind = match and (match[2] or match[3])
    if kind not in _KINDS:
        raise ValueError(text)
    return kind, bool(match[1]), bool(match[4])


def read_all(
    parameters: Sequence[Parameter], texts: Mapping[str, str], *, chapter: str
) -> dict[str, Value]:
    """{name: value} for `texts`, each as typed; values equal to their defaults are left out.

    Args:
        parameters: those of the chapter.
        texts: {name: value as typed}.
        chapter: the chapter's name, for the message.

    Raises:
        ParameterError: an unknown name, or a value not allowed.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {}
    for name, text in texts.items():
        if name not in known:
            takes = ", ".join(known) or "none"
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "`entrack chapters` lists them."
            raise ParameterError(
                f"chapter {chapter} has no parameter {name!r}; it takes {takes}. {hint}"
            )
        value = known[name].read(text)
        if value != known[name].default:
            values[name] = value
    return values


def plain(parameters: Mapping[str, object]) -> dict[str, object]:
    """Tuples as lists, the only sequence that papermill writes and JSON holds."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in parameters.items()
    }


def models_folders(root: Path) -> tuple[Path, ...]:
    """Where families are described: the folder that `ENTRACK_MODELS` names, if any, then the
    project's own.
    """
    own = os.environ.get("ENTRACK_MODELS")
    return (Path(own), root / "models") if own else (root / "models",)

"""The directives of a Markdown text: which there are, where they begin and end."""

import re
from dataclasses import dataclass, field

from entrack.course_errors import ExerciseError

_OPEN = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?:\{(?P<name>[\w:-]+)\}[ ]*(?P<argument>.*))?(?P<code>.*)$"
)
_OPTION = re.compile(r"^:(?P<key>[\w-]+):[ ]*(?P<value>.*)$")


@dataclass(frozen=True)
class Fence:
    """One directive.

    Attributes:
        name: such as "exercise".
        argument: the rest of its first line.
        options: {key: value} of the lines `:key: value` that follow.
        body: what stands between, without the options.
        source: all its lines as they were written.
    """

    name: str
    argument: str
    body: str
    source: str
    options: dict[str, str] = field(default_factory=dict)


def blocks(text: str) -> list[str | Fence]:
    """`text` in pieces, in order: directives, and the text between them, code fences included.

    Raises ExerciseError for a fence that is not closed."""
    lines, found, plain = text.splitlines(), [], []
    i = 0
    while i < len(lines):
        match = _OPEN.match(lines[i])
        if lines[i].startswith(":::") and not lines[i].strip(": "):
            raise ExerciseError(
                f"the line {lines[i]!r} closes no fence; a fence ends at the first line of as many"
                " colons as it has, or more. Give the outer fence more colons than the inner one."
            )
        if match is None or (match["fence"][0] == ":" and not match["name"]):
            plain.append(lines[i])
            i += 1
            continue
        end = _end(lines, i, match["fence"])
        if match["name"]:
            if plain:
                found.append("\n".join(plain))
                plain = []
            found.append(_fence(match, lines[i : end + 1]))
        else:
            plain += lines[i : end + 1]
        i = end + 1
    return [*found, "\n".join(plain)] if plain else found


def _end(lines: list[str], start: int, fence: str) -> int:
    for i in range(start + 1, len(lines)):
        line = lines[i].rstrip()
        if len(line) >= len(fence) and line == fence[0] * len(line):
            return i
    raise ExerciseError(
        f"the fence {lines[start]!r} is not closed; a line of {fence!r} ends it. Add one."
    )


def _fence(match: re.Match, lines: list[str]) -> Fence:
    body = lines[1:-1]
    options = {}
    while body and (option := _OPTION.match(body[0])):
        options[option["key"]] = option["value"].strip()
        body = body[1:]
    return Fence(
        match["name"],
        match["argument"].strip(),
        "\n".join(body).strip("\n"),
        "\n".join(lines),
        options,
    )

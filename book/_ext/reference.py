"""Sphinx hook: the reference pages, made of the package's docstrings and of the command's own help.

```{command-line}```   the help of `entrack` and of each of its commands

The docstrings are written to be read as they stand. Before Sphinx reads one, its sections become
lists, names in backticks become links where a page describes what they name, an indented block
stays as it is typed, and nothing else in it counts as markup."""

import argparse
import os
import re
from inspect import signature
from textwrap import dedent, indent

from docutils import nodes
from docutils.parsers.rst import Directive

from entrack.cli import parser

SECTIONS = {
    "Args:": "Parameters",
    "Attributes:": "Attributes",
    "Returns:": "Returns",
    "Yields:": "Yields",
    "Raises:": "Raises",
}
ENTRIES = {"Args:", "Attributes:", "Raises:"}  # sections that list names
ENTRY = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)
CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
MARKUP = re.compile(r"[\\*|]|_(?!\w)")
HELP_WIDTH = "76"


def process_docstring(app, what, name, obj, options, lines):
    """Turn one docstring, in place, into reStructuredText."""
    own = set(signature(obj).parameters) if what in ("function", "method") else set()
    lines[:] = "\n\n".join(rewritten(block, own) for block in blocks(lines)).split("\n")
    lines.append("")


def blocks(lines: list[str]) -> list[list[str]]:
    """The paragraphs of a docstring; a section with its heading is one, with its blank lines."""
    found: list[list[str]] = [[]]
    for line in lines:
        within = bool(found[-1]) and found[-1][0] in SECTIONS
        ended = bool(line) and not line.startswith(" ") if within else not line
        if ended or line in SECTIONS:
            found.append([])
        if line or within:
            found[-1].append(line)
    return [block for block in found if any(block)]


def rewritten(block: list[str], own: set[str]) -> str:
    """One paragraph, section or indented block; `own` are the parameters, which need no link."""
    first, *rest = block
    if first.startswith(" "):
        return "::\n\n" + indent(dedent("\n".join(block)), "    ")
    if first not in SECTIONS:
        return markup(" ".join(line.strip() for line in block).removesuffix("::"), own)
    text = dedent("\n".join(rest)).strip()
    if first in ENTRIES and ENTRY.match(text):
        _, *pieces = ENTRY.split(text)
        entries = zip(pieces[::2], pieces[1::2], strict=True)
        text = "\n".join(
            f"* {titles(names, first)} – {markup(' '.join(words.split()), own)}"
            for names, words in entries
        )
    else:
        text = markup(" ".join(text.split()), own)
    return f":{SECTIONS[first]}:\n" + indent(text, "    ")


def titles(names: str, section: str) -> str:
    """The names that an entry describes: errors as links, others in bold."""
    look = ":py:exc:`.{}`" if section == "Raises:" else "**{}**"
    return ", ".join(look.format(name) for name in names.split(", "))


def markup(text: str, own: set[str]) -> str:
    """Links for names in backticks, save those in `own`; no other sign keeps a meaning."""
    pieces = CODE.split(text)
    pieces[::2] = [MARKUP.sub(r"\\\g<0>", piece) for piece in pieces[::2]]
    pieces[1::2] = [code(piece, own) for piece in pieces[1::2]]
    return "".join(pieces)


def code(quoted: str, own: set[str]) -> str:
    words = quoted[2:-2].strip() if quoted.startswith("``") else quoted[1:-1]
    if not NAME.fullmatch(words) or words in own:
        return f"``{words}``"
    anywhere = "." if "." in words or words[0].isupper() else ""
    return f":py:obj:`{anywhere}{words}`"


def readable_defaults(app, what, name, obj, options, arguments, returned):
    """Dots for a default such as <factory>, which is no Python and which Sphinx cannot parse."""
    return re.sub(r"<[^<>]*>", "...", arguments or ""), returned


def leave_as_code(app, environment, node, text):
    """A name in backticks that no page describes stays code; of a type that none describes, Sphinx
    warns.
    """
    return text if (node.get("refdomain"), node.get("reftype")) == ("py", "obj") else None


def skip_fields(app, what, name, obj, skip, options):
    """The fields of a named tuple stand in its signature; Python's words for them say nothing."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None


class CommandLine(Directive):
    """The help of the command, and a section with that of each subcommand."""

    def run(self):
        top = parser()
        commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
        return [help_of(top), *(section(name, sub) for name, sub in commands.choices.items())]


def section(name: str, sub: argparse.ArgumentParser) -> nodes.section:
    made = nodes.section(ids=[nodes.make_id(f"entrack {name}")], names=[f"entrack {name}"])
    made += nodes.title("", "", nodes.literal(text=f"entrack {name}"))
    made += help_of(sub)
    return made


def help_of(command: argparse.ArgumentParser) -> nodes.literal_block:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = HELP_WIDTH
    try:
        text = command.format_help().rstrip()
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return nodes.literal_block(text, text, language="text", classes=["wraps"])


def setup(app):
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", readable_defaults)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", leave_as_code)
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

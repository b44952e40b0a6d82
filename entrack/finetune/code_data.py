"""Small look-ups in code: several values are given names, and one name is asked for.

There are no boxes, no nouns of the task and no capital letters here. What the task shares with it
is the bare form: of several pairs, find the one with this name and say its other half. The
templates tell the pair in both orders, because in early tries (models/README.md) name-first code
alone helped the standard format and harmed the alternative one."""

import random
from dataclasses import dataclass

from entrack.finetune.item import WORDS, Item

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
IDENTIFIERS = tuple(
    "tmp src dst cfg log out buf idx ptr arg env ref var doc img pos row col url uid".split()
)


@dataclass(frozen=True)
class Template:
    """One way of writing pairs.

    Attributes:
        name_first: whether a pair tells the name before the value.
        pair: with {name} and {value}.
        question: ends where the value is due.
        spaced: whether a space stands before the value there.
        before, between, after: what surrounds the pairs.
    """

    name_first: bool
    pair: str
    question: str
    spaced: bool = False
    before: str = ""
    between: str = "\n"
    after: str = "\n"


TEMPLATES = {
    "assignment": Template(True, '{name} = "{value}"', 'assert {name} == "'),
    "dictionary": Template(
        True,
        '"{name}": "{value}"',
        'assert d["{name}"] == "',
        before="d = {",
        between=", ",
        after="}\n",
    ),
    "function": Template(True, 'def {name}(): return "{value}"', 'assert {name}() == "'),
    "import": Template(False, "from lib import {value} as {name}", "assert {name} is lib."),
    "put": Template(False, 'put("{value}", into={name})', 'assert get({name}) == "'),
    "open": Template(False, 'with open("{value}") as {name}: pass', 'assert {name}.name == "'),
    "pairs": Template(
        False,
        '("{value}", "{name}")',
        'assert find("{name}") == "',
        before="pairs = [",
        between=", ",
        after="]\n",
    ),
    "arrow": Template(False, "{value} -> {name}", "{name} <-", spaced=True),
    "move": Template(False, "mv {value} {name}", "mv {name}", spaced=True),
    "redirection": Template(False, "echo {value} > {name}", "cat {name} # prints", spaced=True),
}

SHELL = ("arrow", "move", "redirection")
PYTHON = tuple(name for name in TEMPLATES if name not in SHELL)
"""The templates in two parts: bare words between spaces, and Python, where the value is quoted or
imported. A model that has learnt from the one can still learn something new from the other."""


@dataclass(frozen=True)
class CodeData:
    """Look-ups in code.

    Attributes:
        templates: names of TEMPLATES, each as likely as the others.
        n_pairs: fewest and most pairs; every number between is equally likely.
    """

    templates: tuple[str, ...] = tuple(TEMPLATES)
    n_pairs: tuple[int, int] = (2, 8)


def code_items(config: CodeData, n: int, *, seed: int) -> list[Item]:
    """`n` look-ups."""
    rng = random.Random(f"code {seed}")
    return [_look_up(config, rng) for _ in range(n)]


def _look_up(config: CodeData, rng: random.Random) -> Item:
    template = TEMPLATES[rng.choice(config.templates)]
    size = rng.randint(*config.n_pairs)
    names = rng.sample(rng.choice((LETTERS, LETTERS, IDENTIFIERS)), size)
    values = rng.sample(WORDS, size)
    asked = rng.randrange(size)
    pairs = [
        template.pair.format(name=name, value=value)
        for name, value in zip(names, values, strict=True)
    ]
    context = template.before + template.between.join(pairs) + template.after
    return Item(
        context + template.question.format(name=names[asked]), " " * template.spaced + values[asked]
    )

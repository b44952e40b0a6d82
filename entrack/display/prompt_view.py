"""One prompt as a reader sees it: its tokens in the colours of their roles, or shaded by where the
groups of a circuit look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np

from entrack.display.style import GROUPS as COLOURS
from entrack.display.style import ROLE_LINES, ROLE_WORDS, ROLES
from entrack.errors import AlignmentError
from entrack.heads.one_prompt import Reading
from entrack.sites import GROUPS
from entrack.task.prompts import Prompts

SHADED, SHOWN = 0.03, 0.1
"""Attention from which a token of a reading is shaded, and from which it is told in numbers."""


@dataclass(frozen=True)
class PromptView:
    """One prompt, token by token, with its roles marked; shows itself in a notebook and prints as
    text.

    Attributes:
        title: what is shown.
        tokens: the tokens as text.
        marks: token index -> the roles that stand there.
        answer: the word that completes the prompt.
    """

    title: str
    tokens: tuple[str, ...]
    marks: Mapping[int, tuple[str, ...]]
    answer: str

    def __str__(self) -> str:
        lines = [self.title]
        for index, token in enumerate(self.tokens):
            marks = f"   <- {', '.join(self.marks[index])}" if index in self.marks else ""
            lines.append(f"{index:4d}  {token.strip() or token}{marks}")
        return "\n".join([*lines, f"answer: {self.answer}"])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        # Text takes the page's own colour, so that light and dark pages both read; a role is told
        # by its name and its underline, never by colour alone.
        cell = (
            "display:inline-block;vertical-align:top;margin:0 1px 6px;padding:1px"
            " 3px;text-align:center"
        )
        small = "display:block;font-size:.68em;font-weight:400"
        items = []
        for index, token in enumerate(self.tokens):
            roles = self.marks.get(index, ())
            names = "".join(f'<span style="{small}">{_words(role)}</span>' for role in roles)
            word = escape(token.strip() or token)
            if roles:
                word = f'<span style="{_underline(roles[0])}">{word}</span>'
            frame = f";{_frame(roles[0])}" if roles else ""
            items.append(
                f'<li style="{cell}{frame}"><span style="{small};opacity:.75">{index}</span>'
                f"{word}{names}</li>"
            )
        title = escape(self.title)
        roles = [role for role in ROLES if any(role in found for found in self.marks.values())]
        return (
            f'<figure class="entrack-prompt" style="margin:.5em 0" aria-label="{title}">'
            f'<figcaption>{title}</figcaption>{_legend(roles)}<ol style="list-style:none;margin:0;'
            f'padding:0">{"".join(items)}</ol>'
            f"<p>Answer: <strong>{escape(self.answer)}</strong></p></figure>"
        )


def show(prompts: Prompts, index: int) -> PromptView:
    """Prompt `index` with token numbers and roles. Raises AlignmentError if there is no such
    prompt.
    """
    if not 0 <= index < len(prompts):
        raise AlignmentError(
            f"prompt {index}; there are {len(prompts)}, counted from 0. Use a smaller number."
        )
    marks: dict[int, tuple[str, ...]] = {}
    for role, places in prompts.roles.items():
        place = int(places[index])
        marks[place] = (*marks.get(place, ()), role)
    answer = prompts.examples[index].answer
    return PromptView(
        f"Prompt {index}, {len(prompts.pieces[index])} tokens", prompts.pieces[index], marks, answer
    )


@dataclass(frozen=True, eq=False)
class ReadingView:
    """Where the groups of a circuit look in one prompt, from the one that reads first (D) to the
    one that answers (A): the prompt once per group, its tokens shaded by attention.

    Attributes:
        reading: what is shown.
        caption: what the reader is to see; may hold HTML that is the book's own.
    """

    reading: Reading
    caption: str

    @property
    def alt(self) -> str:
        """The strongest looks in a sentence."""
        told = "; ".join(
            f"{GROUPS[name].letter}, from “{self._word(self.reading.acts[name])}”, looks at "
            + ", ".join(f"“{self._word(at)}” ({weights[at]:.0%})" for at in _strongest(weights))
            for name, weights in self._order()
        )
        return f"One prompt, read by the groups in turn. {told or 'No group has a head'}."

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.alt}"

    def _repr_html_(self) -> str:
        rows = "".join(self._row(name, weights) for name, weights in self._order())
        return (
            f'<figure class="entrack-reading" role="group" aria-label="{escape(self.alt)}">'
            f"<ol>{rows}</ol><figcaption>{self.caption}</figcaption></figure>"
        )

    def _order(self) -> list[tuple[str, np.ndarray]]:
        return list(reversed(self.reading.looks.items()))

    def _word(self, at: int) -> str:
        token = self.reading.prompts.pieces[0][at]
        return token.strip() or token

    def _row(self, name: str, weights: np.ndarray) -> str:
        group, at = GROUPS[name], self.reading.acts[name]
        tokens = "".join(
            self._token(i, token, float(weights[i]), acts=i == at)
            for i, token in enumerate(self.reading.prompts.pieces[0])
        )
        role = next(r for r, places in self.reading.prompts.roles.items() if int(places[0]) == at)
        colour = f"var(--entrack-{group.letter},{COLOURS[name]})"
        return (
            f'<li style="--group:{colour}"><p><b>{group.letter}</b> {escape(group.title.lower())}s,'
            f" from the {_words(role)}</p><p>{tokens}</p></li>"
        )

    def _token(self, index: int, token: str, weight: float, *, acts: bool) -> str:
        """A token as running text: shaded by its attention, framed where the group acts."""
        space = " " if token != token.lstrip() or not index else ""
        word = escape(token.strip() or token)
        if weight < SHADED and not acts:
            return f"{space}{word}"
        told = f"<small>{weight:.0%}</small>" if weight >= SHOWN else ""
        kind = ' class="acts"' if acts else ""
        return f'{space}<span{kind} style="--look:{weight:.0%}">{word}{told}</span>'


def _strongest(weights: np.ndarray, n: int = 2) -> list[int]:
    """The tokens that get most attention, at least `SHOWN`, or the first of them."""
    order = np.argsort(-weights, kind="stable")[:n].tolist()
    return [at for at in order if weights[at] >= SHOWN] or order[:1]


def _words(role: str) -> str:
    return escape(ROLE_WORDS.get(role, role.replace("_", " ")))


def _colour(role: str) -> str:
    """The role's variable of the book's style sheet, and its colour where that is not there."""
    return f"var(--entrack-{role.replace('_', '-')},{ROLES.get(role, 'currentColor')})"


def _frame(role: str) -> str:
    shade = f"color-mix(in srgb,{_colour(role)} 18%,transparent)"
    return f"border:2px solid {_colour(role)};border-radius:4px;background:{shade};font-weight:600"


def _underline(role: str) -> str:
    line = ROLE_LINES.get(role, "solid")
    return (
        f"text-decoration:underline {line} 2px;text-decoration-color:{_colour(role)};"
        "text-underline-offset:3px"
    )


def _legend(roles: Iterable[str]) -> str:
    """A line that names each colour and underline."""
    keys = "".join(
        f'<span style="margin-right:1em;white-space:nowrap"><span style="{_underline(role)};'
        f'font-weight:600">{_words(role)}</span></span> '
        for role in roles
    )
    return f'<p class="entrack-legend" style="font-size:.85em;margin:.25em 0">Roles: {keys}</p>'

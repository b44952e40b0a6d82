"""One prompt as a reader sees it: its tokens in boxes, coloured by role."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from entrack.errors import AlignmentError
from entrack.task.prompts import Prompts


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
        # Borders and text take the page's own colour, so that light and dark pages both read; a
        # role is told by its name, never by colour alone.
        cell = (
            "display:inline-block;vertical-align:top;margin:0 1px 6px;padding:1px"
            " 3px;text-align:center"
        )
        marked = (
            ";border:1.5px solid"
            " currentColor;border-radius:4px;background:rgba(128,128,128,.18);font-weight:600"
        )
        small = "display:block;font-size:.68em;font-weight:400"
        items = []
        for index, token in enumerate(self.tokens):
            roles = self.marks.get(index, ())
            names = "".join(
                f'<span style="{small}">{html.escape(role.replace("_", " "))}</span>'
                for role in roles
            )
            items.append(
                f'<li style="{cell}{marked if roles else ""}"><span'
                f' style="{small};opacity:.75">{index}</span>'
                f"{html.escape(token.strip() or token)}{names}</li>"
            )
        title = html.escape(self.title)
        return (
            f'<figure style="margin:.5em 0" aria-label="{title}"><figcaption>{title}</figcaption>'
            f'<ol style="list-style:none;margin:0;padding:0">{"".join(items)}</ol>'
            f"<p>Answer: <strong>{html.escape(self.answer)}</strong></p></figure>"
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

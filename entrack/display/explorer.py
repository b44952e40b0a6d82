"""The circuit explorer: a page on which the reader replaces heads and sees what the model says.

Everything that can be chosen was computed before; the page carries it as data (probabilities in
thousandths) and a script of the book shows what is asked for. Without the script, one example
stands in as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from entrack.circuits import Circuit
from entrack.cross_model.explorer import ANOTHER_PROMPT, KINDS, MEAN, Explored
from entrack.display.explorer_page import explorer_html
from entrack.display.style import GROUPS as COLOURS
from entrack.display.style import ROLE_WORDS
from entrack.display.tables import Table
from entrack.errors import FigureError
from entrack.sites import GROUPS
from entrack.task.counterfactual_prompts import CounterfactualPrompts

MAX_BYTES = 700_000
"""Largest explorer; a committed notebook stays below 1 MB."""


@dataclass(frozen=True)
class Experiment:
    """Something to try: what to choose on the page.

    Attributes:
        title: what is tried.
        prompt: number of the prompt, from 0.
        source: where the heads come from.
        cell: label of what is replaced.
    """

    title: str
    prompt: int
    source: str
    cell: str


class CircuitExplorer:
    """The explorer of some versions of one model on the same prompts; the last expression of a cell
    shows it.

    Args:
        explored: version -> all its answers; the first version is the one that the page opens with
            and whose mistakes it tells of. All have the same cells.
        data: the prompts and their sources.
        circuit: whose groups the cells are made of.
        tokenizer: turns the most likely tokens into words.

    Attributes:
        data: what the page's script reads; probabilities and attention in thousandths.
        experiments: what the page suggests, each on the prompt where it has the greatest effect.

    Raises FigureError when versions differ in their cells, and above 700 kB.
    """

    def __init__(
        self,
        explored: Mapping[str, Explored],
        data: CounterfactualPrompts,
        *,
        circuit: Circuit,
        tokenizer: PreTrainedTokenizerBase,
    ):
        first, *others = explored.values()
        labels = [cell.label for cell in first.cells]
        if any([cell.label for cell in other.cells] != labels for other in others):
            raise FigureError(
                "versions with different cells; the page has one set of switches. Explore all of"
                " them with the same cells."
            )
        names = {found.model: version for version, found in explored.items()}
        words = _Words(tokenizer)
        self.experiments = _experiments(first, data, names)
        self.data = {
            "groups": _groups(circuit),
            "cells": labels,
            "kinds": list(KINDS),
            "versions": [_version(v, found, names, words) for v, found in explored.items()],
            "prompts": _prompts(data, first, circuit),
            "experiments": [vars(experiment) for experiment in self.experiments],
            "words": words.known,
        }
        self._html = explorer_html(self.data, self._example().html)
        if len(self._html) > MAX_BYTES:
            raise FigureError(
                f"an explorer of {len(self._html) // 1000} kB; at most {MAX_BYTES // 1000} kB. Take"
                " fewer prompts."
            )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self._html, "text/plain": self._example().text}

    def _example(self) -> Table:
        """The first experiment."""
        version, experiment = self.data["versions"][0], self.experiments[0]
        prompt = self.data["prompts"][experiment.prompt]
        source = version["sources"].index(experiment.source)
        before = version["own"][source][experiment.prompt]
        after = version["probs"][source][self.data["cells"].index(experiment.cell)]
        named = {
            "right": f"right: {prompt['right']}",
            "position": f"at the other prompt's position: {prompt['position']}",
            "source": f"the other prompt's answer: {prompt['source']}",
            "objects": "the other objects",
            "rest": "all other words",
        }
        rows = [
            [named[kind], f"{one / 10:.1f}%", f"{two / 10:.1f}%"]
            for kind, one, two in zip(KINDS, before, after[experiment.prompt], strict=True)
        ]
        caption = (
            f"{experiment.title}: {version['name']} reads “{''.join(prompt['tokens'])}”, and"
            f" {experiment.cell} is taken from {experiment.source}."
        )
        header = ["what the model may say", "alone", "with the heads replaced"]
        return Table(rows, header, caption)


class _Words:
    """Words of the most likely tokens, each known by its number."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer, self.known, self.numbers = tokenizer, [], {}

    def number(self, token: int) -> int:
        if token not in self.numbers:
            self.numbers[token] = len(self.known)
            self.known.append(self.tokenizer.decode([token]).strip() or "(blank)")
        return self.numbers[token]

    def numbered(self, tokens: np.ndarray) -> list:
        """The same nested lists with numbers of words."""
        return np.vectorize(self.number, otypes=[int])(tokens).tolist()


def _thousandths(values: np.ndarray) -> list:
    return np.rint(np.asarray(values) * 1000).astype(int).tolist()


def _groups(circuit: Circuit) -> list[dict]:
    return [
        {
            "letter": g.letter,
            "title": g.title.lower(),
            "colour": COLOURS[name],
            "role": ROLE_WORDS[circuit.role(name)],
            "heads": [str(head) for head in circuit.groups[name]],
        }
        for name, g in GROUPS.items()
        if circuit.groups[name]
    ]


def _version(version: str, found: Explored, names: Mapping[str, str], words: _Words) -> dict:
    return {
        "name": version,
        "sources": [names.get(source, source) for source in found.sources],
        "own": _thousandths(found.own),
        "probs": _thousandths(found.probs),
        "said": words.numbered(found.own_top),
        "top": words.numbered(found.top),
        "attention": {
            GROUPS[name].letter: _thousandths(values) for name, values in found.attention.items()
        },
    }


def _prompts(data: CounterfactualPrompts, first: Explored, circuit: Circuit) -> list[dict]:
    base, source = data.base, data.source
    found = []
    for i, length in enumerate(base.lengths.tolist()):
        pieces, objects = base.pieces[i], base.segments["object"][i].tolist()
        asked = objects.index(int(base.at("correct_object")[i]))
        other = source.segments["object"][i].tolist().index(int(source.at("correct_object")[i]))
        acts = {
            g.letter: int(base.at(circuit.role(name))[i])
            for name, g in GROUPS.items()
            if circuit.groups[name]
        }
        found.append(
            {
                "tokens": list(pieces[:length]),
                "acts": acts,
                "label": pieces[int(base.at("query_label")[i])].strip(),
                "boxes": len(objects),
                "asked": asked,
                "right": pieces[objects[asked]].strip(),
                "rightAt": objects[asked],
                "ownRight": bool(first.own_top[i] == base.answers[i]),
                "otherAsked": other,
                "otherAt": objects[other],
                "otherText": source.texts[i],
                "position": pieces[objects[other]].strip(),
                "source": source.pieces[i][int(source.at("correct_object")[i])].strip(),
            }
        )
    return found


def _experiments(
    first: Explored, data: CounterfactualPrompts, names: Mapping[str, str]
) -> tuple[Experiment, ...]:
    """What to try: look elsewhere (B), name what was never read (A), repair a mistake (any one
    group of another version); each where the circuit and the prompts allow it.
    """
    labels = [cell.label for cell in first.cells]
    single = [i for i, label in enumerate(labels) if len(label) == 1]
    gain = first.probs - first.own[:, None]  # [source cell example kind]
    other = first.sources.index(ANOTHER_PROMPT)
    asked = [
        places.index(int(right))
        for places, right in zip(
            data.source.segments["object"].tolist(), data.source.at("correct_object"), strict=True
        )
    ]
    found = []

    def best(letter: str, kind: str, among: Sequence[int]) -> int:
        """The prompt at which `kind` gains most."""
        moved = gain[other, labels.index(letter), :, KINDS.index(kind)]
        return max(among, key=lambda i: moved[i])

    if "B" in labels:
        third = [i for i, slot in enumerate(asked) if slot == 2]
        prompt = best("B", "position", third or range(len(asked)))
        title = f"Make the model look into box {asked[prompt] + 1}"
        if third:
            title = "Make the model look into the third box"
        found.append(Experiment(title, prompt, ANOTHER_PROMPT, "B"))
    if "A" in labels:
        prompt = best("A", "source", range(len(asked)))
        title = "Make it name an object that it never read"
        found.append(Experiment(title, prompt, ANOTHER_PROMPT, "A"))
    wrong = np.flatnonzero(first.own_top != data.base.answers.numpy())
    givers = [i for i, source in enumerate(first.sources) if source in names]
    if len(wrong) and givers:
        repaired = gain[np.ix_(givers, single, wrong, [KINDS.index("right")])][..., 0]
        giver, cell, row = np.unravel_index(repaired.argmax(), repaired.shape)
        found.append(
            Experiment(
                "Repair a wrong answer with one group of another version",
                int(wrong[row]),
                names[first.sources[givers[giver]]],
                labels[single[cell]],
            )
        )
    return tuple(found) or (Experiment("Take heads away", 0, MEAN, labels[0]),)

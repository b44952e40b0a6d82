"""From texts to tokens, with the place of every word that an experiment touches.

The paper's code knew its positions by arithmetic (position -1 = the earlier label, 2 tokens before
the last = the query label), which breaks with the first sentence of another length. Here every role
is found from the characters of its word, and the token that stands there is checked to be that word
and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from entrack.errors import AlignmentError, TaskError
from entrack.store.digests import digest
from entrack.task.boxes import ROLES, Example, RoleText
from entrack.task.draws import Pair

# An induction head at the query label reads the token after the label's earlier mention.
AFTER_LABEL = "after_prev_query_label"


@dataclass(frozen=True)
class Prompts:
    """Prompts as tokens.

    Attributes:
        tokens: Long[example pos], padded on the right where lengths differ. Attention is causal, so
            padding is never seen by a real token; read nothing at or after `lengths`.
        lengths: Long[example], number of real tokens.
        answers: Long[example], the token that completes the prompt correctly (" apple").
        roles: role name -> Long[example], the index of its token. All of `boxes.ROLES`, and
            "after_prev_query_label", the token that follows the earlier label.
        segments: "object" and "label" -> Long[example slot], the tokens of every box in the order
            of the text. Empty if the prompts do not all have the same number of boxes.
        texts: the prompts as text.
        pieces: for every prompt its tokens as text, special tokens by their name.
        examples: what the prompts were made from.
    """

    tokens: Tensor
    lengths: Tensor
    answers: Tensor
    roles: Mapping[str, Tensor]
    segments: Mapping[str, Tensor]
    texts: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    examples: tuple[Example | RoleText, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def digest(self) -> str:
        """A name for all that a result can depend on: tokens, lengths, answers, roles, segments.

        Prompts of the same tokens with other answers or roles have another.
        """
        return digest(
            self.tokens, self.lengths, self.answers, dict(self.roles), dict(self.segments)
        )

    @property
    def identity(self) -> str:
        """What stands for these prompts in the key of a stored result."""
        return self.digest

    @cached_property
    def scenes(self) -> np.ndarray:
        """Which scene each prompt asks about, numbered as they first appear [example].

        Prompts ask about one scene when all tokens before their query labels are the same.
        """
        numbers: dict[tuple[int, ...], int] = {}
        contexts = zip(self.tokens.tolist(), self.at("query_label").tolist(), strict=True)
        return np.array(
            [numbers.setdefault(tuple(row[:end]), len(numbers)) for row, end in contexts]
        )

    def at(self, role: str) -> Tensor:
        """Long[example]: where the role stands in each prompt. Raises AlignmentError for an unknown
        role.
        """
        if role not in self.roles:
            raise AlignmentError(
                f"unknown role {role!r}; the roles are {', '.join(self.roles)}. Use one of them."
            )
        return self.roles[role]

    def subset(self, indices: Iterable[int] | slice | Tensor) -> Prompts:
        """The chosen prompts, in the order given."""
        if isinstance(indices, slice):
            indices = range(len(self))[indices]
        chosen = [int(index) for index in indices]
        rows = torch.tensor(chosen, dtype=torch.long)
        return Prompts(
            tokens=self.tokens[rows],
            lengths=self.lengths[rows],
            answers=self.answers[rows],
            roles={role: index[rows] for role, index in self.roles.items()},
            segments={kind: index[rows] for kind, index in self.segments.items()},
            texts=tuple(self.texts[i] for i in chosen),
            pieces=tuple(self.pieces[i] for i in chosen),
            examples=tuple(self.examples[i] for i in chosen),
        )


def chunks(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """`indices` in order, `size` at a time; what is left comes last."""
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])


def encode(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example | RoleText]) -> Prompts:
    """Tokenise prompts and find their roles.

    For a corrupt example, "prev_query_label" and "correct_object" are the words of segment `query`,
    whatever label its question names.

    Raises:
        TaskError: no examples, or an object, label or answer that is not exactly one token, named.
        AlignmentError: a prompt longer than the tokenizer says that the model reads, a word that is
            not where it should be, or a tokenizer that does not give character positions.
    """
    examples = tuple(examples)
    if not examples:
        raise TaskError("no examples to encode; at least one is needed. Ask for 1 or more.")
    if not getattr(tokenizer, "is_fast", False):
        raise AlignmentError(
            f"{type(tokenizer).__name__} gives no character positions; roles are found by them. Use"
            " a fast tokenizer."
        )
    texts = [
        example.role_text() if isinstance(example, Example) else example for example in examples
    ]
    encoded = tokenizer([text.text for text in texts], return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    limit = tokenizer.model_max_length
    for index, row in enumerate(ids):
        if len(row) > limit:
            raise AlignmentError(
                f"prompt {index} of {len(row)} tokens; this model reads at most {limit}. "
                "Use fewer boxes or a shorter text."
            )
    places = [
        _places(tokenizer, text, row, spans)
        for text, row, spans in zip(texts, ids, offsets, strict=True)
    ]
    longest = max(map(len, ids))
    n_boxes = {sum(name.startswith("label_") for name in place) for place in places}
    segments = {}
    if len(n_boxes) == 1:
        for kind in ("object", "label"):
            names = [f"{kind}_{slot}" for slot in range(*n_boxes)]
            segments[kind] = torch.tensor([[place[name] for name in names] for place in places])
    return Prompts(
        tokens=torch.tensor([row + [_pad_id(tokenizer)] * (longest - len(row)) for row in ids]),
        lengths=torch.tensor([len(row) for row in ids]),
        answers=_answer_ids(tokenizer, [text.answer for text in texts]),
        roles={
            role: torch.tensor([place[role] for place in places]) for role in (*ROLES, AFTER_LABEL)
        },
        segments=segments,
        texts=tuple(text.text for text in texts),
        pieces=tuple(
            tuple(
                text.text[start:end] if end > start else tokenizer.convert_ids_to_tokens(token)
                for token, (start, end) in zip(row, spans, strict=True)
            )
            for text, row, spans in zip(texts, ids, offsets, strict=True)
        ),
        examples=examples,
    )


def _places(
    tokenizer: PreTrainedTokenizerBase,
    text: RoleText,
    ids: list[int],
    offsets: list[tuple[int, int]],
) -> dict[str, int]:
    """Token index of every named word of the text; each must be one token that holds the word
    alone.
    """
    owner = [-1] * len(text.text)
    for index, (start, end) in enumerate(offsets):
        owner[start:end] = [index] * (end - start)
    places = {}
    for name, (start, end) in text.spans.items():
        word = text.text[start:end]
        first, last = owner[start], owner[end - 1]
        if first != last:
            pieces = [text.text[slice(*offsets[i])] for i in range(first, last + 1)]
            raise TaskError(
                f"word {word!r} is {len(pieces)} tokens {pieces}; every object and label must be"
                " one. Use another word."
            )
        decoded = tokenizer.decode([ids[first]]).strip() if first >= 0 else ""
        if decoded != word:
            raise AlignmentError(
                f"token {first} reads {decoded!r} where {name} should be {word!r}; the token must"
                " be that word alone. Check the tokenizer."
            )
        places[name] = first
    places[AFTER_LABEL] = places["prev_query_label"] + 1
    if places["last"] != len(ids) - 1:
        raise AlignmentError(
            f"token {len(ids) - 1} follows the prompt's last word; the answer is read at the last"
            " word. Use a tokenizer that adds nothing at the end."
        )
    return places


def _answer_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> Tensor:
    """Long[word], the token with which "... contains the" goes on to each word."""
    prompt = tokenizer("contains the")["input_ids"]
    known = {}
    for word in dict.fromkeys(words):
        ids = tokenizer(f"contains the {word}")["input_ids"]
        if ids[: len(prompt)] != prompt or len(ids) != len(prompt) + 1:
            raise TaskError(
                f"answer {word!r} is {len(ids) - len(prompt)} tokens; it must be one. Use another"
                " word."
            )
        known[word] = ids[-1]
    return torch.tensor([known[word] for word in words])


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that `tokenizer` puts before every text, such as Gemma's <bos>; often
    none. Whoever tokenises a text in parts puts them before the first."""
    bare = tokenizer("the", add_special_tokens=False)["input_ids"]
    whole = tokenizer("the")["input_ids"]
    return whole[: next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)]


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills up rows; which one does not matter, as no real token sees it."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]
) -> tuple[Prompts, Prompts]:
    """Clean and corrupt prompts as tokens: (clean, corrupt), of equal lengths pair by pair.

    Raises AlignmentError where the two prompts of a pair differ in length, and as `encode` does.
    """
    clean = encode(tokenizer, [pair.clean for pair in pairs])
    corrupt = encode(tokenizer, [pair.corrupt for pair in pairs])
    for index, (a, b) in enumerate(
        zip(clean.lengths.tolist(), corrupt.lengths.tolist(), strict=True)
    ):
        if a != b:
            raise AlignmentError(
                f"pair {index} has {a} clean and {b} corrupt tokens; path patching needs equal"
                " lengths. Use one format and words of one token."
            )
    return clean, corrupt

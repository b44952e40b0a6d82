"""Base and source prompts as tokens: what an interchange between them is made on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from entrack.errors import TaskError
from entrack.store.digests import digest
from entrack.task.desiderata import Counterfactual
from entrack.task.prompts import Prompts, _answer_ids, _pad_id, encode


@dataclass(frozen=True)
class CounterfactualPrompts:
    """Counterfactuals as tokens.

    Attributes:
        base, source: the prompts; `base.answers` and `source.answers` are their own correct
            answers.
        answers: Long[example], the expected answer of the patched base.
        alternatives: candidate name -> Long[example], what other ideas predict (see
            `desiderata.Counterfactual`).
    """

    base: Prompts
    source: Prompts
    answers: Tensor
    alternatives: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.base)

    @cached_property
    def digest(self) -> str:
        """A name for all that a result can depend on: both prompts, answers, alternatives."""
        return digest(self.base.digest, self.source.digest, self.answers, dict(self.alternatives))

    @property
    def identity(self) -> str:
        """What stands for these counterfactuals in the key of a stored result."""
        return self.digest

    def subset(self, indices: Iterable[int] | slice | Tensor) -> CounterfactualPrompts:
        """The chosen counterfactuals, in the order given."""
        chosen = (
            range(len(self))[indices]
            if isinstance(indices, slice)
            else [int(index) for index in indices]
        )
        rows = torch.tensor(list(chosen), dtype=torch.long)
        alternatives = {name: ids[rows] for name, ids in self.alternatives.items()}
        return CounterfactualPrompts(
            self.base.subset(chosen), self.source.subset(chosen), self.answers[rows], alternatives
        )


def encode_counterfactuals(
    tokenizer: PreTrainedTokenizerBase, counterfactuals: Sequence[Counterfactual]
) -> CounterfactualPrompts:
    """Bases and sources as tokens, with the tokens of the expected answer and of the alternatives.

    Where a counterfactual was made as published, its slip is made here too: the answer without its
    leading space, or the source's "last" and "query_label" counted from the base's length, so that
    "last" lies behind the source's last token.

    Raises TaskError for candidates that not all counterfactuals share, and as `encode` does.
    """
    base = encode(tokenizer, [item.base for item in counterfactuals])
    source = encode(tokenizer, [item.source for item in counterfactuals])
    names = tuple(counterfactuals[0].alternatives)
    if any(tuple(item.alternatives) != names for item in counterfactuals):
        raise TaskError(
            "counterfactuals with different candidates; one list needs one desideratum. Encode them"
            " apart."
        )
    padded = torch.tensor([item.padded_source for item in counterfactuals])
    if padded.any():
        source = _read_at(
            source, torch.where(padded, base.lengths, source.lengths), _pad_id(tokenizer)
        )
    words = [item.answer for item in counterfactuals]
    bare = torch.tensor([item.bare_answer for item in counterfactuals])
    return CounterfactualPrompts(
        base=base,
        source=source,
        answers=torch.where(bare, _bare_ids(tokenizer, words), _answer_ids(tokenizer, words)),
        alternatives={
            name: _answer_ids(tokenizer, [item.alternatives[name] for item in counterfactuals])
            for name in names
        },
    )


def _bare_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> Tensor:
    """Long[word], the entry of the vocabulary that is the word without a space before it, else the
    unknown token.
    """
    ids = [tokenizer.convert_tokens_to_ids(word) for word in words]
    return torch.tensor([_pad_id(tokenizer) if token is None else token for token in ids])


def _read_at(prompts: Prompts, lengths: Tensor, pad: int) -> Prompts:
    """The prompts with "last" and "query_label" where they would be if the prompts had these
    (greater) lengths.
    """
    behind = (lengths - prompts.lengths).clamp(min=0)
    padding = prompts.tokens.new_full((len(prompts), int(behind.max())), pad)
    moved = {role: prompts.roles[role] + behind for role in ("last", "query_label")}
    return replace(
        prompts, tokens=torch.cat([prompts.tokens, padding], 1), roles={**prompts.roles, **moved}
    )

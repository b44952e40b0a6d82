"""At which tokens does a version do its work? Found greedily, for each version alike (ours).

Chapter 03 asks whether the three tokens of the paper's groups are the right ones. A version that
was fine-tuned may do part of its work elsewhere, and then no choice of heads at those three tokens
can be faithful to it. So tokens are added one kind at a time, all their heads alive and all heads
elsewhere at their mean, each time the kind that brings most, until the accuracy is near that of the
whole version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from entrack.circuit.live_positions import ALL, LivePositions, live_positions
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.stats.metrics import Difference, Estimate
from entrack.task.prompts import Prompts

START = ("last",)
"""The answer is read at the last token, so its heads are alive from the start."""
PLACES = {
    "query label": "query_label",
    "earlier label": "prev_query_label",
    "token after it": "after_prev_query_label",
    "right object": "correct_object",
    "all labels": "every label",
    "tokens after all labels": "after every label",
    "all objects": "every object",
    "first token": "first",
}
"""Words for a kind of token -> its role, as `live_positions` or `with_places` knows it."""
ENOUGH = 0.95
"""Share of the whole version's accuracy at which the search ends."""
MOST = 4
"""Additions at which it ends at the latest."""


def with_places(prompts: Prompts) -> Prompts:
    """The prompts with one more role, the first token, to which many heads look by default."""
    first = torch.zeros_like(prompts.at("last"))
    return replace(prompts, roles={**prompts.roles, "first": first})


@dataclass(frozen=True)
class TokenSupport:
    """Kinds of tokens in the order in which they were added.

    Attributes:
        order: words of `PLACES`, the first added first.
        live: answers on prompts that the search did not see: "last token" alone, after each
            addition (by the words of what was added), and "all" tokens.
    """

    order: tuple[str, ...]
    live: LivePositions

    def accuracy(self, index: int) -> Estimate:
        """After so many additions; -1 for the whole version."""
        return self.live.accuracy(self._names[index] if index >= 0 else ALL)

    def short(self, index: int) -> Difference:
        """Accuracy after so many additions less that of the whole version."""
        return self.live.difference(self._names[index], ALL)

    @property
    def _names(self) -> tuple[str, ...]:
        return ("last token", *self.order)


def token_support(
    model: Model,
    choosing: Prompts,
    judging: Prompts,
    *,
    means: Means,
) -> TokenSupport:
    """Add kinds of tokens until the accuracy on `choosing` reaches `ENOUGH` of the whole version's,
    a further kind brings nothing, or `MOST` are added; then measure the way on `judging`. Every
    step is stored.

    Cost: for each addition one run of `choosing` per kind of tokens that is left."""
    choosing, judging = with_places(choosing), with_places(judging)
    roles, order = list(START), []
    score = live_positions(model, choosing, sets={"now": roles, ALL: [ALL]}, means=means)
    now, enough = score.hits["now"].mean(), ENOUGH * score.hits[ALL].mean()
    while now < enough and len(order) < min(MOST, len(PLACES)):
        left = {name: role for name, role in PLACES.items() if name not in order}
        tried = live_positions(
            model, choosing, sets={n: [*roles, r] for n, r in left.items()}, means=means
        )
        best = max(left, key=lambda name: (tried.hits[name].sum(), tried.mean_log_prob(name)))
        if order and tried.hits[best].mean() <= now:
            break
        now = tried.hits[best].mean()
        order.append(best)
        roles.append(PLACES[best])
    return TokenSupport(tuple(order), _judged(model, judging, order, means))


def _judged(
    model: Model,
    prompts: Prompts,
    order: Sequence[str],
    means: Means,
) -> LivePositions:
    sets = {"last token": list(START)}
    for index, name in enumerate(order):
        sets[name] = [*START, *(PLACES[n] for n in order[: index + 1])]
    return live_positions(model, prompts, sets=sets | {ALL: [ALL]}, means=means)

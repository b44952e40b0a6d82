"""At which tokens must heads be live? All heads there, none anywhere else.

A circuit whose heads act at three tokens can be faithful only if the model does its work at those
tokens. This asks so before any head is named: every head at the chosen positions computes, every
head elsewhere gives its mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.circuit.ablation import ablated_run
from entrack.errors import ConfigError
from entrack.model.activations import CHUNK, Means
from entrack.model.decoder import Model
from entrack.model.replay import Replay
from entrack.stats.metrics import Difference, Estimate, difference, rate
from entrack.store.results import stored
from entrack.task.prompts import Prompts, chunks

ALL = "all"


@dataclass(frozen=True)
class LivePositions:
    """Answers with heads live at some tokens only.

    Attributes:
        hits: whether the answer is right, by name of the set of tokens [example].
        log_prob: natural log of the right object's probability, by name [example].
        model: name of the model.
    """

    hits: Mapping[str, np.ndarray]
    log_prob: Mapping[str, np.ndarray]
    model: str

    def accuracy(self, name: str) -> Estimate:
        """Share of right answers for one set of tokens."""
        return rate(self.hits[name])

    def mean_log_prob(self, name: str) -> float:
        """Mean natural log of the right object's probability for one set of tokens."""
        return float(self.log_prob[name].mean())

    def difference(self, first: str, second: str) -> Difference:
        """Accuracy with one set of tokens less that with another, on the same prompts."""
        return difference(self.hits[first], self.hits[second])


def live_positions(
    model: Model, prompts: Prompts, *, sets: Mapping[str, Sequence[str]], means: Means
) -> LivePositions:
    """Accuracy with all heads live at each set of tokens and mean-ablated everywhere else. Stored.

    Args:
        sets: name -> token roles; "every label", "every object" and "after every label" stand for
            those of all boxes, "all" for every token (the whole model).

    Raises:
        ConfigError: an empty set.
        AlignmentError: an unknown role.

    Cost: one pass without attention per prompt, and the tokens of each set.
    """
    empty = [name for name, roles in sets.items() if not roles]
    if not sets or empty:
        raise ConfigError(
            f"no tokens in {empty or 'any set'}; each set needs at least one role. Name some."
        )
    return _measure(model, prompts, sets, means)


@stored("live")
@torch.no_grad()
def _measure(
    model: Model, prompts: Prompts, sets: Mapping[str, Sequence[str]], means: Means
) -> LivePositions:
    hits, log_prob = {name: [] for name in sets}, {name: [] for name in sets}
    for indices in chunks(range(len(prompts)), CHUNK):
        part = prompts.subset(indices)
        run = ablated_run(model, part, means)
        for name, roles in sets.items():
            found = Replay(model, run, positions=_positions(part, roles), start=0).outcomes()
            hits[name].append(found.hit[:, 0].cpu())
            log_prob[name].append(found.log_prob[:, 0].cpu())
    return LivePositions(
        hits={k: torch.cat(v).numpy() for k, v in hits.items()},
        log_prob={k: torch.cat(v).numpy() for k, v in log_prob.items()},
        model=model.name,
    )


def _positions(prompts: Prompts, roles: Sequence[str]) -> Tensor:
    """Ascending positions of the tokens that `roles` name [example slot]."""
    columns = []
    for role in roles:
        if role == ALL:
            columns.append(torch.arange(prompts.tokens.shape[1]).expand(len(prompts), -1))
        elif role in ("every label", "every object", "after every label"):
            columns.append(prompts.segments[role.split()[-1]] + (role == "after every label"))
        else:
            columns.append(prompts.at(role)[:, None])
    return torch.stack([row.unique() for row in torch.cat(columns, dim=1)])

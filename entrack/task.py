"""How well a model does the task: which object is in the box that is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entrack.activations import clean_runs
from entrack.boxes import Scene, all_queries
from entrack.metrics import Estimate, mean
from entrack.models import Model
from entrack.prompts import encode
from entrack.replay import outcomes
from entrack.results import stored


@dataclass(frozen=True)
class TaskScores:
    """A model's answers to every box of some scenes.

    Attributes:
        hits: whether the most likely of all tokens is the right object [scene query].
        log_prob: natural log of the probability of the right object [scene query].
        model: name of the model.
        format: text format of the prompts.
    """

    hits: np.ndarray
    log_prob: np.ndarray
    model: str
    format: str

    @property
    def clusters(self) -> np.ndarray:
        """Which scene each of the flattened answers belongs to [scene*query]."""
        return np.repeat(np.arange(len(self.hits)), self.hits.shape[1])

    def accuracy(self) -> Estimate:
        """Accuracy over all prompts; the interval resamples scenes."""
        return mean(self.hits.ravel(), clusters=self.clusters)

    def by_position(self) -> list[Estimate]:
        """Accuracy per queried position, first box first."""
        return [mean(column) for column in self.hits.T]


def score_task(model: Model, scenes: Sequence[Scene], *, format: str = "alternative") -> TaskScores:
    """Ask `model` for every box of every scene (all of one number of boxes). Stored.

    The context of a scene runs once; its questions are variants of the last three tokens on top of it.
    Cost: about a sixth of one forward pass per prompt with seven boxes.
    """
    return stored(
        lambda: _score(model, scenes, format),
        name="task", key=[model.digest, list(scenes), format, model.dtype], modules=["entrack.task"],
    )


@torch.no_grad()
def _score(model: Model, scenes: Sequence[Scene], format: str) -> TaskScores:
    n_boxes = scenes[0].n_boxes
    prompts = encode(model.tokenizer, all_queries(scenes, format=format))
    first = prompts.subset(range(0, len(prompts), n_boxes))
    question = first.at("query_label")[:, None] + torch.arange(int(first.at("last")[0] - first.at("query_label")[0]) + 1)
    every = torch.arange(len(prompts)).view(-1, n_boxes)
    hits, log_prob = [], []
    for covered, run in clean_runs(model, first):
        chosen = every[list(covered)]
        tokens = prompts.tokens[chosen[..., None], question[list(covered)][:, None]].to(model.device)
        found = outcomes(model, run, positions=question[list(covered)], variants=n_boxes, start=0,
                         resid=model.hf.model.embed_tokens(tokens), answers=prompts.answers[chosen])
        hits.append(found.hit.cpu())
        log_prob.append(found.log_prob.cpu())
    return TaskScores(hits=torch.cat(hits).numpy(), log_prob=torch.cat(log_prob).numpy(), model=model.name, format=format)

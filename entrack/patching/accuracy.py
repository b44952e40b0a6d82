"""How well a model does the task: which object is in the box that is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entrack.model.activations import clean_runs
from entrack.model.decoder import Model
from entrack.model.replay import Replay
from entrack.stats.metrics import Difference, Estimate, difference, rate
from entrack.store.results import stored
from entrack.task.boxes import FORMATS, Scene
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode
from entrack.versions.families import versions
from entrack.versions.loading import load


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
        """Accuracy over all prompts; the interval is over scenes."""
        return rate(self.hits.ravel(), clusters=self.clusters)

    def by_position(self) -> list[Estimate]:
        """Accuracy per queried position, first box first."""
        return [rate(column) for column in self.hits.T]

    def ends_over_middle(self) -> Difference:
        """Accuracy for the first and the last box, minus that for those between; positive = a U.
        Needs three boxes.
        """
        ends, middle = self.hits[:, [0, -1]].mean(1), self.hits[:, 1:-1].mean(1)
        return difference(ends, middle)

    def against_middle(self, box: int) -> Difference:
        """Accuracy for one box (counted from 0, -1 the last) minus that for those between the first
        and the last. Needs three boxes.
        """
        return difference(self.hits[:, box], self.hits[:, 1:-1].mean(1))

    @property
    def hardest(self) -> int:
        """The box with the lowest accuracy, counted from 0; the first of several."""
        return int(self.hits.mean(0).argmin())

    def minus(self, other: "TaskScores") -> Difference:
        """Paired difference in accuracy on the same prompts; positive = this one is better.

        Raises ConfigError when the two were asked another number of prompts.
        """
        return difference(self.hits.ravel(), other.hits.ravel(), clusters=self.clusters)


def score_task(model: Model, scenes: Sequence[Scene], *, format: str = "alternative") -> TaskScores:
    """Ask `model` for every box of every scene (all of one number of boxes). Stored.

    The context of a scene runs once; its questions are variants of the last three tokens on top of
    it.
    Cost: about a sixth of one forward pass per prompt with seven boxes.
    """
    return _score(model, scenes, format)


def score_family(family: str, chosen: Sequence[Scene]) -> dict[tuple[str, str], TaskScores]:
    """`score_task` for every version of `family` that can be loaded, by (version, format) in both
    text formats; one model at a time.
    """
    return {
        (version, format): score_task(model, chosen, format=format)
        for version in versions(family)
        for model in [load(f"{family}/{version}")]
        for format in FORMATS
    }


def score_sizes(
    model: Model, n_scenes: int, *, sizes: Sequence[int], seed: int = 0
) -> dict[int, TaskScores]:
    """`score_task` for `n_scenes` evaluation scenes of each number of boxes in `sizes`."""
    return {
        n_boxes: score_task(model, scenes(n_scenes, split="evaluation", n_boxes=n_boxes, seed=seed))
        for n_boxes in sizes
    }


@stored("task")
def _score(model: Model, scenes: Sequence[Scene], format: str) -> TaskScores:
    return task_scores(model, scenes, format=format)


@torch.no_grad()
def task_scores(model: Model, scenes: Sequence[Scene], *, format: str) -> TaskScores:
    """What `score_task` stores, measured anew: for a model whose weights change."""
    n_boxes = scenes[0].n_boxes
    prompts = encode(model.tokenizer, all_queries(scenes, format=format))
    first = prompts.subset(range(0, len(prompts), n_boxes))
    question = first.at("query_label")[:, None] + torch.arange(
        int(first.at("last")[0] - first.at("query_label")[0]) + 1
    )
    every = torch.arange(len(prompts)).view(-1, n_boxes)
    hits, log_prob = [], []
    for covered, run in clean_runs(model, first):
        chosen = every[list(covered)]
        places = question[list(covered)][:, None].expand(-1, n_boxes, -1)
        tokens = prompts.tokens[chosen[..., None], places].to(model.device).flatten(0, 1)
        asked = model.layers.embed(tokens, places.to(model.device).flatten(0, 1))
        found = Replay(
            model,
            run,
            positions=question[list(covered)],
            variants=n_boxes,
            start=0,
            resid=asked.unflatten(0, (-1, n_boxes)),
        ).outcomes(answers=prompts.answers[chosen])
        hits.append(found.hit.cpu())
        log_prob.append(found.log_prob.cpu())
    return TaskScores(
        hits=torch.cat(hits).numpy(),
        log_prob=torch.cat(log_prob).numpy(),
        model=model.name,
        format=format,
    )

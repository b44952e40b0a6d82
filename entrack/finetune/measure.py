"""How well a model in training does the task, as plain values for a card.

What is measured, and how, is `patching.accuracy`: experiments and cards ask in one way."""

from typing import Any

from entrack.model.decoder import Model
from entrack.patching.accuracy import TaskScores, task_scores
from entrack.stats.metrics import Estimate
from entrack.task.draws import scenes

N_BOXES = 7


def box_accuracy(
    hf: Any, tokenizer: Any, *, split: str, n_scenes: int, format: str = "alternative"
) -> TaskScores:
    """Ask for every box of `n_scenes` scenes of `split`. Nothing is stored: the weights change.

    `hf` may be in training, with an adapter wrapped around its projections (peft's
    `get_base_model()`), and is left as it was.

    Cost: 490 prompts of the default model take some 30 s on one core in fp32.
    """
    model = Model.of(hf, tokenizer, name="in training", digest="")
    drawn = scenes(n_scenes, split=split, n_boxes=N_BOXES)
    training = hf.training
    hf.eval()
    try:
        return task_scores(model, drawn, format=format)
    finally:
        hf.train(training)


def summary(scores: TaskScores) -> dict[str, Any]:
    """Accuracy with its 95 % interval over scenes, for a card."""
    n_scenes, n_boxes = scores.hits.shape
    return {
        **_rounded("accuracy", scores.accuracy()),
        "n_prompts": n_scenes * n_boxes,
        "n_scenes": n_scenes,
        "by_queried_box": [round(float(share), 3) for share in scores.hits.mean(axis=0)],
    }


def change(scores: TaskScores, before: TaskScores) -> dict[str, Any]:
    """Accuracy less that of `before` on the same prompts, paired, for a card."""
    return _rounded("value", scores.minus(before))


def _rounded(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        name: round(estimate.value, 4),
        "interval_95": [round(estimate.low, 4), round(estimate.high, 4)],
    }

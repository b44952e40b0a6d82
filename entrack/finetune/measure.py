"""How well a model does the task, fast enough to be asked during training.

The boxes of one scene share their context, so the context is run once and only the four tokens of
the question are run per box, on a repeated key/value cache: a seventh of the work of plain prompts,
and the same answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from entrack.stats.metrics import difference, mean
from entrack.task.boxes import Scene
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import opening


@dataclass(frozen=True)
class Accuracy:
    """Share of prompts whose most likely next token, of the whole vocabulary, is the right object.

    Attributes:
        correct: bool[scene slot], slot = the queried box in the order of the text.
    """

    correct: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Accuracy with its 95 % interval, as plain values for a card.

        The interval is over *scenes*: the seven prompts of one scene share a context
        and are not independent."""
        n_scenes, n_boxes = self.correct.shape
        estimate = mean(self.correct.ravel(), clusters=np.repeat(np.arange(n_scenes), n_boxes))
        return {
            "accuracy": round(estimate.value, 4),
            "interval_95": [round(estimate.low, 4), round(estimate.high, 4)],
            "n_prompts": estimate.n,
            "n_scenes": n_scenes,
            "by_queried_box": [round(float(share), 3) for share in self.correct.mean(axis=0)],
        }

    def minus(self, other: "Accuracy") -> dict[str, Any]:
        """This accuracy less the other's on the same prompts, paired, with its 95 % interval over
        scenes.
        """
        n_scenes, n_boxes = self.correct.shape
        estimate = difference(
            self.correct.ravel(),
            other.correct.ravel(),
            clusters=np.repeat(np.arange(n_scenes), n_boxes),
        )
        return {
            "value": round(estimate.value, 4),
            "interval_95": [round(estimate.low, 4), round(estimate.high, 4)],
        }


def box_accuracy(
    hf: Any,
    tokenizer: Any,
    *,
    split: str,
    n_scenes: int = 100,
    n_boxes: int = 7,
    format: str = "alternative",
    seed: int = 0,
    batch: int = 10,
) -> Accuracy:
    """Ask for every box of `n_scenes` scenes of `split`.

    Cost: about 25 tokens a prompt; 700 prompts of the default model take some 30 s on one core in
    fp32, half of that under bf16 autocast."""
    drawn = scenes(n_scenes, split=split, n_boxes=n_boxes, seed=seed)
    chunks = [drawn[i : i + batch] for i in range(0, n_scenes, batch)]
    training = hf.training
    hf.eval()
    try:
        with torch.inference_mode():
            return Accuracy(
                np.concatenate([_correct(hf, tokenizer, chunk, format) for chunk in chunks])
            )
    finally:
        hf.train(training)


def _correct(hf: Any, tokenizer: Any, chunk: Sequence[Scene], format: str) -> np.ndarray:
    asked = all_queries(chunk, format=format)
    n_boxes = chunk[0].n_boxes
    contexts = _ids(tokenizer, [example.context for example in asked[::n_boxes]])
    first = torch.tensor(opening(tokenizer), dtype=torch.long).expand(len(contexts), -1)
    contexts = torch.cat([first, contexts], dim=1).to(hf.device)
    questions = _ids(tokenizer, [example.question for example in asked]).to(hf.device)
    answers = _ids(tokenizer, [f" {example.answer}" for example in asked])[:, 0]
    cache = hf(input_ids=contexts, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(n_boxes)
    logits = hf(
        input_ids=questions, past_key_values=cache, use_cache=True, logits_to_keep=1
    ).logits[:, -1]
    return (logits.argmax(-1).cpu() == answers).numpy().reshape(-1, n_boxes)


def _ids(tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor(tokenizer(list(texts), add_special_tokens=False)["input_ids"])

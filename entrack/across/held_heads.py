"""Training that must leave some heads alone: is it through *these* heads that other data helps
(ours)?

That two tasks share their heads is a likeness. It becomes a cause if training on the one no longer
improves the other once the shared heads are held at what they were. So a recipe is trained again,
on the same stream of data, while the adapter of chosen heads is kept at nothing; and as a control
while as many other heads of the same layers are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.across.checkpoints import adapter_at, model_at
from entrack.across.held_adapters import adapter_without, neighbours
from entrack.across.look_ups import BOXES, LOOK_UPS, answered
from entrack.circuits import Circuit
from entrack.finetune.recipes import Recipe
from entrack.model.decoder import Model
from entrack.patching.accuracy import score_task
from entrack.sites import GROUPS
from entrack.stats.metrics import Difference, Estimate, difference, rate, ratio
from entrack.task.boxes import Scene
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class HeldCourses:
    """One recipe, trained freely and with heads held, and what each training brings.

    Attributes:
        held: name of a training -> how many heads it had to leave alone; `START` is the model
            before any.
        boxes: the same -> whether it answers right, told as boxes [example].
        look_ups: the same, told as look-ups [example].
        scenes: which scene each example belongs to [example].
    """

    held: Mapping[str, int]
    boxes: Mapping[str, np.ndarray]
    look_ups: Mapping[str, np.ndarray]
    scenes: np.ndarray

    @property
    def draws(self) -> list[str]:
        """The trainings with neighbours of the circuit held."""
        return [name for name in self.held if name not in (START, FREE, CIRCUIT)]

    def accuracy(self, training: str, task: str) -> Estimate:
        """Share of right answers in "boxes" or "look-ups"."""
        return rate(self._hits(task)[training], clusters=self._clusters(task))

    def gain(self, training: str, task: str) -> Difference:
        """Accuracy after a training less that before."""
        return self._change(task, self._hits(task)[training], self._hits(task)[START])

    def helps(self, task: str) -> bool:
        """Whether the free training clearly helps: without a gain, nothing shows what it needs."""
        return self.gain(FREE, task).low > 0

    def cost(self, task: str) -> Difference:
        """Accuracy with the neighbours held, over all draws, less that with the circuit held:
        positive = the circuit's heads are needed more than others of their layers.
        """
        others = np.mean([self._hits(task)[name] for name in self.draws], axis=0)
        return self._change(task, others, self._hits(task)[CIRCUIT])

    def kept(self, training: str, task: str) -> Estimate:
        """Gain of a training as a share of the gain of the free one. NaN where that is 0."""
        hits = {k: v.astype(float) for k, v in self._hits(task).items()}
        gains = (hits[name] - hits[START] for name in (training, FREE))
        return ratio(*gains, clusters=self._clusters(task))

    def _hits(self, task: str) -> Mapping[str, np.ndarray]:
        return {BOXES: self.boxes, LOOK_UPS: self.look_ups}[task]

    def _change(self, task: str, after: np.ndarray, before: np.ndarray) -> Difference:
        return difference(after, before, clusters=self._clusters(task))

    def _clusters(self, task: str) -> np.ndarray | None:
        # Look-ups are asked once per scene, so that every example is one of its own.
        return self.scenes if task == BOXES else None


START, FREE, CIRCUIT = "before", "all heads trained", "circuit held"


def train_held(
    parent: Model,
    recipe: Recipe,
    step: int,
    *,
    circuit: Circuit,
    n_random: int,
    scenes: Sequence[Scene],
    look_ups: Prompts,
) -> HeldCourses:
    """`recipe` for `step` steps: freely, with the heads of `circuit` held, and with `n_random`
    draws of as many of their neighbours held. Asked are all boxes of `scenes`, and `look_ups`.
    Every step is stored.

    Cost: as `adapter_without`, for each, and the asking.
    """
    own = tuple(sorted({head for name in GROUPS for head in circuit.groups[name]}))
    chosen = {CIRCUIT: own} | {
        f"neighbours held, draw {seed + 1}": neighbours(circuit, n_heads=parent.n_heads, seed=seed)
        for seed in range(n_random)
    }
    adapters = {FREE: adapter_at(parent, recipe, step)} | {
        name: adapter_without(parent, recipe, step, heads=heads) for name, heads in chosen.items()
    }
    models = {START: parent} | {
        name: replace(
            model_at(parent, recipe, adapter),
            name=f"{parent.family}/{recipe.name} at step {step}, {name}",
        )
        for name, adapter in adapters.items()
    }
    scores = {name: score_task(model, scenes) for name, model in models.items()}
    return HeldCourses(
        held={START: 0, FREE: 0} | {name: len(heads) for name, heads in chosen.items()},
        boxes={name: score.hits.ravel() for name, score in scores.items()},
        look_ups={name: answered(model, look_ups) for name, model in models.items()},
        scenes=scores[START].clusters,
    )

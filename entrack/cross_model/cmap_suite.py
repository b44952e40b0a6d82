"""Where a fine-tuned version's gain sits: what each group hands over, and which part of the update
brings it.

`cmap` asks it of activations, `graft_scores` of weights. Both use one receiver's circuit and
its random controls."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell, group_cell, other_cells
from entrack.cross_model.cmap import CrossPatch, cross_patch
from entrack.cross_model.weight_swap import MATRICES, graft
from entrack.errors import ConfigError
from entrack.model.decoder import Model
from entrack.patching.accuracy import TaskScores, score_task
from entrack.sites import GROUPS, Head, all_heads
from entrack.stats.metrics import Difference, Estimate, difference, minus
from entrack.store.results import stored
from entrack.task.boxes import Scene
from entrack.task.draws import all_queries
from entrack.task.prompts import encode

INPUTS = ("q", "k", "v", "qk", "qkv")


@dataclass(frozen=True)
class CMAP:
    """What one version does with another's activations.

    Attributes:
        near: cells that recompute only the question: groups A, B, C and their controls.
        far: cells that recompute the context from the earlier label on: D, its controls, the full
            circuit. They cost ten times as much, so they run on fewer scenes. None when the
            receiver's circuit has no D, or none were asked for.
    """

    near: CrossPatch
    far: CrossPatch | None

    def of(self, label: str) -> CrossPatch:
        """The result that has the cell. Raises ConfigError for a label that neither has."""
        for found in (self.near, self.far):
            if found is not None and label in self.labels(found):
                return found
        raise ConfigError(
            f"no cell {label!r}; there are {', '.join(self.all_labels())}. Use one of those."
        )

    def all_labels(self) -> list[str]:
        """Labels of all cells."""
        return [
            label
            for found in (self.near, self.far)
            if found is not None
            for label in self.labels(found)
        ]

    @property
    def title(self) -> str:
        """Who gives to whom: "code into base"."""
        donor, receiver = (n.rpartition("/")[2] for n in (self.near.donor, self.near.receiver))
        return f"{donor} into {receiver}"

    def letters(self) -> list[str]:
        """Letters of the groups that were patched alone."""
        labels = self.all_labels()
        return [g.letter for g in GROUPS.values() if g.letter in labels]

    def n_heads(self, letter: str) -> int:
        """How many heads were patched as a group."""
        found = self.of(letter)
        return sum(map(len, found.cells[found.index(letter)].heads.values()))

    def gain(self, label: str) -> Difference:
        """Accuracy with a cell less the receiver's own, paired."""
        return self.of(label).gain(label)

    def edge(self) -> Difference:
        """Accuracy of the donor alone less that of the receiver alone, paired."""
        near = self.near
        return difference(near.donor_hits, near.own_hits, clusters=near.scenes)

    def closed(self, label: str) -> Estimate | None:
        """Share of the gap between receiver and donor that a cell closes; None where it was not
        patched, or where there is no gap.
        """
        if label not in self.all_labels():
            return None
        share = self.of(label).closed(label)
        return None if math.isnan(share.value) else share

    def random(self, letter: str) -> list[str]:
        """Labels of a group's random controls."""
        return [label for label in self.all_labels() if label.startswith(f"random {letter} ")]

    def random_gain(self, letter: str) -> Difference | None:
        """Mean gain of a group's random controls; None where it has none."""
        drawn = self.random(letter)
        return self.of(letter).gain(*drawn) if drawn else None

    def over_random(self, letter: str) -> Difference | None:
        """Accuracy with a group less the mean over its random controls, paired."""
        drawn = self.random(letter)
        if not drawn:
            return None
        found = self.of(letter)
        controls = found.hits[[found.index(label) for label in drawn]].mean(0)
        return difference(found.hits[found.index(letter)], controls, clusters=found.scenes)

    def over(self, label: str, level: float) -> tuple[Estimate, Difference] | None:
        """Accuracy with a cell less `level`, such as that of guessing, and its gain; None where it
        was not patched.
        """
        if label not in self.all_labels():
            return None
        return minus(self.of(label).accuracy(label), level), self.gain(label)

    def others(self, letter: str) -> str | None:
        """Label of the control "all other heads at the token of this group"; None where it was not
        run. A and B act at one token, so theirs is the same.
        """
        label = f"all others at {letter}"
        return label if label in self.all_labels() else None

    def over_others(self, letter: str) -> Difference | None:
        """Accuracy with a group less that with all heads outside the circuit at its token, paired;
        None where these were not run. Negative: the rest brings more than the group.
        """
        if (label := self.others(letter)) is None:
            return None
        found = self.of(letter)
        group, rest = (found.hits[found.index(cell)] for cell in (letter, label))
        return difference(group, rest, clusters=found.scenes)

    @staticmethod
    def labels(found: CrossPatch) -> list[str]:
        """Labels of one result's cells."""
        return [cell.label for cell in found.cells]


def cmap(
    donor: Model,
    receiver: Model,
    circuit: Circuit,
    *,
    scenes: Sequence[Scene],
    n_far: int = 0,
    n_random: int = 0,
    inputs: bool = False,
    format: str = "alternative",
    seed: int = 0,
) -> CMAP:
    """Patch the groups of `circuit`, alone and together, from `donor` into `receiver`. Stored.

    Args:
        scenes: every box of each is asked for.
        n_far: how many of the scenes also get the cells that recompute the context; 0 = none.
        n_random: random controls for each of A, B and C, with all other heads at the role; D gets
            one, without the latter.
        inputs: also patch q, k, v, qk and qkv of A and of B.

    Groups that are empty in this circuit are left out. Raises as `cross_patch` does.
    """
    have = [g.letter for g in GROUPS.values() if circuit.groups[g.name]]
    near: list[Cell] = []
    for letter in (g for g in have if g != "D"):
        near.append(group_cell(circuit, letter))
        near += (
            other_cells(receiver, circuit, letter, n_random=n_random, seed=seed) if n_random else []
        )
        near += (
            [group_cell(circuit, letter, inputs=i) for i in INPUTS]
            if inputs and letter in "AB"
            else []
        )
    together = [g for g in have if g != "D"]
    near += [group_cell(circuit, *together)] if len(together) > 1 else []
    far = [group_cell(circuit, "D"), group_cell(circuit)] if "D" in have else []
    far += (
        other_cells(receiver, circuit, "D", n_random=1, seed=seed)[:1] if far and n_random else []
    )
    prompts, n_boxes = (
        encode(receiver.tokenizer, all_queries(scenes, format=format)),
        scenes[0].n_boxes,
    )
    few = prompts.subset(range(n_boxes * min(n_far, len(scenes))))
    return CMAP(
        near=cross_patch(donor, receiver, prompts, cells=near),
        far=cross_patch(donor, receiver, few, cells=far) if far and len(few) else None,
    )


@dataclass(frozen=True)
class GraftScores:
    """The receiver with parts of the donor's weights, on the same prompts.

    Attributes:
        scores: part -> answers. "none" is the receiver, "all" the donor; "A" to "D" and "circuit"
            are the heads of the groups, "others" all heads outside the circuit, "random 1", ... as
            many heads as the circuit has, and "q" to "o" one matrix of all heads.
        n_heads: part -> number of heads whose weights were taken.
    """

    scores: Mapping[str, TaskScores]
    n_heads: Mapping[str, int]

    def gain(self, part: str) -> Difference:
        """Accuracy with the part less the receiver's own, paired."""
        return self.scores[part].minus(self.scores["none"])

    def over_random(self) -> Difference:
        """Accuracy with the circuit's heads less the mean over the draws of as many random ones."""
        drawn = [s.hits for part, s in self.scores.items() if part.startswith("random")]
        inside = self.scores["circuit"]
        controls = np.mean(drawn, axis=0)
        return difference(inside.hits.ravel(), controls.ravel(), clusters=inside.clusters)


def graft_scores(
    receiver: Model,
    donor: Model,
    circuit: Circuit,
    *,
    scenes: Sequence[Scene],
    n_random: int = 2,
    seed: int = 0,
) -> GraftScores:
    """Score the receiver with the donor's weights in some heads only. Stored.

    Weights act at every position, so a head that two groups share counts in both. Raises ModelError
    for models of different shape.

    Cost: a scoring of the task (`accuracy.score_task`) per part.
    """
    return _graft_scores(receiver, donor, circuit, scenes, n_random, seed)


@stored("grafts")
def _graft_scores(
    receiver: Model,
    donor: Model,
    circuit: Circuit,
    scenes: Sequence[Scene],
    n_random: int,
    seed: int,
) -> GraftScores:
    every = all_heads(receiver.n_layers, receiver.n_heads)
    inside = sorted({h for heads in circuit.groups.values() for h in heads})
    parts: dict[str, tuple[Sequence[Head], str]] = {
        g.letter: (circuit.groups[n], "qkvo") for n, g in GROUPS.items() if circuit.groups[n]
    }
    parts |= {
        "circuit": (inside, "qkvo"),
        "others": ([h for h in every if h not in inside], "qkvo"),
    }
    generator = np.random.default_rng(seed)
    for i in range(n_random):
        parts[f"random {i + 1}"] = (
            [every[int(j)] for j in generator.choice(len(every), size=len(inside), replace=False)],
            "qkvo",
        )
    parts |= {matrix: (every, matrix) for matrix in MATRICES}
    scores = {
        "none": score_task(receiver, scenes),
        "all": score_task(donor, scenes),
    }
    for name, (heads, matrices) in parts.items():
        scores[name] = score_task(
            graft(
                receiver,
                donor,
                heads=heads,
                matrices=matrices,
                name=f"{receiver.name} with {name} of {donor.name}",
            ),
            scenes,
        )
    return GraftScores(
        scores=scores,
        n_heads={"none": 0, "all": len(every)} | {n: len(h) for n, (h, _) in parts.items()},
    )

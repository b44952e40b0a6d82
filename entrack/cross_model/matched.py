"""What the circuit's heads bring beside others that are like them: matched controls of each group,
the control that structure readers lack, and a gain shared out between the circuit and the rest.

A group may bring much because of where its layers are, because fine-tuning changed its heads more,
or because they act strongly on what comes after. Each control has as many heads outside the circuit
and shares one of these with the group; what all of them leave unexplained is the group's own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuits import Circuit
from entrack.cross_model.at_last import EVERY, INSIDE, REST, AtLast
from entrack.cross_model.cells import Cell, group_cell, other_cells
from entrack.cross_model.cmap import CrossPatch, cross_patch
from entrack.cross_model.cmap_suite import CMAP
from entrack.cross_model.weight_swap import UpdateNorms, update_norms
from entrack.errors import ConfigError
from entrack.model.decoder import Model
from entrack.patching.head_scores import HeadScores
from entrack.sites import GROUPS, Head, all_heads
from entrack.stats.metrics import Difference, Estimate, difference, minus, ratio
from entrack.task.boxes import Scene
from entrack.task.draws import all_queries
from entrack.task.prompts import encode

LAYERS, UPDATE, EFFECT = "same layers", "same update", "same effect"
"""What a control has in common with its group: the layers of its heads, the norm of what
fine-tuning changed in them, or the size of their effect in the search for the group."""


@dataclass(frozen=True)
class Matched:
    """One receiver with groups of a donor's heads, and with their matched controls.

    Attributes:
        patched: the answers; a cell per group, labelled by its letter, and per control, such as
            "A, same layers 1" and "A, same update".
        levels: (letter, kind) -> mean of what is matched over the heads of the group, and over
            those of its controls: layer, norm of the update, or absolute effect. Far apart: there
            are no such heads outside the circuit, and the control is weaker than its name.
    """

    patched: CrossPatch
    levels: Mapping[tuple[str, str], tuple[float, float]]

    @property
    def letters(self) -> list[str]:
        """Letters of the groups, in their order."""
        return list(dict.fromkeys(letter for letter, _ in self.levels))

    def n_heads(self, letter: str) -> int:
        """Number of heads of a group, and of each of its controls."""
        cell = self.patched.cells[self.patched.index(letter)]
        return sum(map(len, cell.heads.values()))

    def controls(self, letter: str, kind: str) -> list[str]:
        """Labels of a group's controls of one kind; several are random draws."""
        start = f"{letter}, {kind}"
        return [c.label for c in self.patched.cells if c.label.startswith(start)]

    def control_gain(self, letter: str, kind: str) -> Difference:
        """Accuracy with a control less the receiver's own, paired; the mean over draws."""
        return self.patched.gain(*self.controls(letter, kind))

    def over(self, letter: str, kind: str) -> Difference:
        """Accuracy with a group less that with its control, paired; the mean over draws. 0: the
        group brings no more than heads that are like it.
        """
        found = self.patched
        drawn = [found.hits[found.index(label)] for label in self.controls(letter, kind)]
        group = found.hits[found.index(letter)]
        return difference(group, np.mean(drawn, axis=0), clusters=found.scenes)

    def over_each(self, letter: str) -> tuple[Difference, ...] | None:
        """`over` for the layers, the update and the effect; None for a group that was not patched.
        The group brings more than the strongest control where all three are above 0.
        """
        if letter not in self.letters:
            return None
        return tuple(self.over(letter, kind) for kind in (LAYERS, UPDATE, EFFECT))


def matched(
    donor: Model,
    receiver: Model,
    circuit: Circuit,
    *,
    effects: Mapping[str, HeadScores],
    scenes: Sequence[Scene],
    n_draws: int = 3,
    seed: int = 0,
) -> Matched | None:
    """Hand over A, B and C, and as many heads outside the circuit at the same token: `n_draws`
    random ones of the same layers, those whose update has the nearest norm, and those whose effect
    is of the nearest size. Its parts are stored.

    The update is the difference of whole weights, donor less receiver, with adapters merged: what
    the two versions differ by, also where the donor does not stand on the receiver.

    Args:
        effects: group name -> effects of all heads of the receiver in the search for the group
            (`discovery.Discovery.scores`).
        scenes: every box of each is asked for.
        n_draws: at least 1.

    Groups without heads are left out, and those that have more than there are outside; None where
    none is left. Raises ConfigError for no draws; else as `cross_patch` does. Cost: a run of both
    models, and for each cell one token per prompt (A, B) or three (C). Source: ours, after the
    random heads of the paper's appendix."""
    if n_draws < 1:
        raise ConfigError(f"{n_draws} draws of heads; at least 1 is needed. Ask for 3, say.")
    update = update_of_heads(update_norms(donor, onto=receiver))
    cells: list[Cell] = []
    levels: dict[tuple[str, str], tuple[float, float]] = {}
    for place, (name, group) in enumerate(list(GROUPS.items())[:3]):
        role, heads = circuit.role(name), circuit.groups[name]
        every = all_heads(receiver.n_layers, receiver.n_heads)
        pool = [head for head in every if head not in circuit.at(role)]
        if not heads or len(heads) > len(pool):
            continue
        generator = np.random.default_rng([seed, place])
        drawn = [in_same_layers(heads, pool, generator) for _ in range(n_draws)]
        controls = {f"{LAYERS} {i + 1}": found for i, found in enumerate(drawn)}
        depth = np.indices(update.shape)[0].astype(float)
        levels[group.letter, LAYERS] = _levels(depth, heads, [h for found in drawn for h in found])
        # A head without a path to what is measured (NaN) has no effect on it.
        effect = np.abs(np.nan_to_num(effects[name].grid()))
        for kind, values in ((UPDATE, update), (EFFECT, effect)):
            controls[kind] = nearest(values, heads, pool)
            levels[group.letter, kind] = _levels(values, heads, controls[kind])
        cells.append(group_cell(circuit, group.letter))
        cells += [
            Cell(f"{group.letter}, {label}", {role: found}) for label, found in controls.items()
        ]
    if not cells:
        return None
    prompts = encode(receiver.tokenizer, all_queries(scenes))
    return Matched(cross_patch(donor, receiver, prompts, cells=cells), levels)


def update_of_heads(norms: UpdateNorms) -> np.ndarray:
    """Norm of all that differs in the q, k, v and o of each head together [layer head]. Heads that
    share k and v each count their update in full.
    """
    return np.sqrt(np.square(norms.update).sum(0))


def nearest(values: np.ndarray, heads: Sequence[Head], pool: Collection[Head]) -> tuple[Head, ...]:
    """For each of `heads` the head of `pool` with the nearest of `values` [layer head], none twice.

    The largest value chooses first, since it has the fewest like it; of two as near, the one of the
    lower layer and number is taken. Sorted. `pool` must hold at least as many heads."""
    left, chosen = set(pool), []

    def value(head: Head) -> float:
        return float(values[head.layer, head.head])

    for head in sorted(heads, key=lambda h: (-value(h), h)):
        chosen.append(min(left, key=lambda other: (abs(value(other) - value(head)), other)))
        left.remove(chosen[-1])
    return tuple(sorted(chosen))


def in_same_layers(
    heads: Sequence[Head], pool: Collection[Head], generator: np.random.Generator
) -> tuple[Head, ...]:
    """As many random heads of `pool` in each layer as `heads` has there. A layer that has too few
    is filled up from the nearest ones, after every layer had its own. Sorted.

    `pool` must hold at least as many heads."""
    left, wanted, chosen, distance = set(pool), sorted(heads), [], 0
    while wanted:
        unmet = []
        for head in wanted:
            near = sorted(other for other in left if abs(other.layer - head.layer) == distance)
            if near:
                chosen.append(near[int(generator.integers(len(near)))])
                left.remove(chosen[-1])
            else:
                unmet.append(head)
        wanted, distance = unmet, distance + 1
    return tuple(sorted(chosen))


def _levels(
    values: np.ndarray, heads: Sequence[Head], others: Sequence[Head]
) -> tuple[float, float]:
    """Mean of `values` [layer head] over some heads, and over others."""
    ours, theirs = (
        float(np.mean([values[h.layer, h.head] for h in chosen])) for chosen in (heads, others)
    )
    return ours, theirs


def with_others_at_d(
    found: CMAP, donor: Model, receiver: Model, circuit: Circuit, *, scenes: Sequence[Scene]
) -> CMAP:
    """The same with one more cell, which `cmap` leaves out: "all others at D", all heads outside
    the circuit where structure readers act, on the prompts of D. Its part is stored.

    Args:
        found: of these models, this circuit and these `scenes`.

    A CMAP without D comes back as it is. Raises ConfigError where the prompts are not those of
    `found`; else as `cross_patch` does. Cost: half a prompt for each of D's, and a run of both
    models."""
    far = found.far
    if far is None:
        return found
    prompts = encode(receiver.tokenizer, all_queries(scenes)).subset(range(len(far.scenes)))
    cells = other_cells(receiver, circuit, "D", n_random=0)
    more = cross_patch(donor, receiver, prompts, cells=cells)
    if (more.donor, more.receiver) != (far.donor, far.receiver) or not np.array_equal(
        more.scenes, far.scenes
    ):
        raise ConfigError(
            f"others at D from {more.donor} into {more.receiver} for a CMAP from {far.donor} into"
            f" {far.receiver}, or on other scenes; both must be the same. Pass what `cmap` got."
        )
    return replace(
        found,
        far=replace(
            far,
            cells=(*far.cells, *more.cells),
            hits=np.concatenate([far.hits, more.hits]),
            log_prob=np.concatenate([far.log_prob, more.log_prob]),
        ),
    )


@dataclass(frozen=True)
class SharedOut:
    """The gain of all heads at the last token, shared out between A and B and the rest.

    What both parts can bring alone is counted twice if each is asked alone, and not at all if each
    is asked what it adds to the other. A part's share is the mean of the two answers (Shapley's
    value for two); so the shares of the parts add up to 1. NaN where all heads bring nothing.

    Attributes:
        last: the accuracies with either part, and with both.
    """

    last: AtLast

    def alone(self) -> Estimate:
        """Gain with A and B alone, over that with all heads."""
        return self.last.share(INSIDE)

    def on_top(self) -> Estimate:
        """What A and B add to all the others, over the gain with all heads. 0: nothing is lost
        without them.
        """
        own, inside, rest, every = self._accuracies()
        return ratio(every - rest, every - own, clusters=self.last.patched.scenes)

    def share(self) -> Estimate:
        """The share of A and B: the mean of `alone` and `on_top`. Below 0: they harm."""
        own, inside, rest, every = self._accuracies()
        ours = (inside - own + every - rest) / 2
        return ratio(ours, every - own, clusters=self.last.patched.scenes)

    def share_of_heads(self) -> float:
        """How many of all heads are of A and B, 0 to 1."""
        n = self.last.n_heads
        return n[INSIDE] / n[EVERY]

    def over_number(self) -> Estimate:
        """Their share of the gain less their share of the heads: 0 where a head of A or B brings
        as much as any other.
        """
        return minus(self.share(), self.share_of_heads())

    def _accuracies(self) -> tuple[np.ndarray, ...]:
        """Hits of the receiver alone, with A and B, with the rest, and with all heads [example]."""
        found = self.last.patched
        parts = (found.hits[found.index(part)] for part in (INSIDE, REST, EVERY))
        return tuple(hits.astype(float) for hits in (found.own_hits, *parts))

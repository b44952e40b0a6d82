"""What the head groups of a circuit carry: the experiments of finding (ii), group by group.

`patch_pairs` and `learn_masks` work on any heads; here they are asked about the groups of one
circuit, each at its own token, and their answers are put side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrack.circuits import Circuit
from entrack.cross_model.cmap_suite import CMAP
from entrack.model.decoder import Model
from entrack.patching.dcm import learn_masks
from entrack.patching.group_patching import Prepared, patch_pairs
from entrack.patching.masks import DCMConfig, Masks
from entrack.patching.patches import Patch, Patched
from entrack.sites import GROUPS
from entrack.stats.claims import direction
from entrack.stats.metrics import Difference, Estimate, difference
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals

TARGETS = ("object", "position", "label")
"""The three things that a group may carry, as candidates of `counterfactual_pairs`."""
CONTENT = {
    "value_fetcher": "object",
    "position_transmitter": "position",
    "position_detector": "position",
}
"""What each group carries according to the paper; structure readers meet none of its desiderata."""
CHEAP_ROLES = ("last", "query_label")
"""Tokens of the question: patching there reruns three tokens at most, elsewhere half the prompt."""
BOXES = 7


def whole_groups(circuit: Circuit, *groups: str) -> dict[str, Patch]:
    """A patch of all heads for each of `groups` that has heads, by its name."""
    return {
        name: Patch(circuit.role(name), circuit.groups[name])
        for name in groups
        if circuit.groups[name]
    }


def first_scenes(data: CounterfactualPrompts, n: int) -> CounterfactualPrompts:
    """The pairs of the first `n` scenes, or all if there are fewer."""
    return data.subset(range(min(len(data), BOXES * n)))


def streams_by_layer(
    model: Model, data: CounterfactualPrompts, *, roles: Sequence[str], n_reader: int
) -> dict[str, Patched]:
    """The whole residual stream of each role patched, layer by layer: role -> answers, with patches
    named "<role> <layer>".

    Every second layer; where a patch reruns the context, every sixth, on `n_reader` scenes. Stored.
    """
    found = {}
    for role in roles:
        cheap = role in CHEAP_ROLES
        found[role] = patch_pairs(
            model,
            data if cheap else first_scenes(data, n_reader),
            patches={
                f"{role} {layer}": Patch(role, resid=layer)
                for layer in range(0, model.n_layers + 1, 2 if cheap else 6)
            },
        )
    return found


def best_layers(streams: Mapping[str, Patched]) -> dict[tuple[str, str], int]:
    """(role, target) -> the layer whose patched stream scores best, for the roles of the question.

    Layer 0 is left out: attention has mixed no tokens there, and the patch swaps the token itself.
    """

    def score(role: str, target: str, layer: int) -> float:
        return streams[role].score(f"{role} {layer}", target).value

    best = {}
    for role in (role for role in CHEAP_ROLES if role in streams):
        layers = [p.resid for p in streams[role].patches.values() if p.resid > 0]
        for target in TARGETS:
            scores = [score(role, target, layer) for layer in layers]
            best[role, target] = layers[scores.index(max(scores))]
    return best


def group_masks(
    model: Model,
    train: CounterfactualPrompts,
    *,
    validation: CounterfactualPrompts,
    circuit: Circuit,
    config: DCMConfig,
    reader_config: DCMConfig,
    n_reader: int,
) -> dict[tuple[str, str], Masks]:
    """Masks of every group that has heads and every target: (group, target) -> masks. Stored.

    Groups outside the question (the structure readers) learn with `reader_config`, from the first
    `n_reader` scenes.
    """
    near = [Prepared(model, data) for data in (train, validation)]
    far = [Prepared(model, first_scenes(data, n_reader)) for data in (train, validation)]
    masks = {}
    for group in (name for name in GROUPS if circuit.groups[name]):
        cheap = circuit.role(group) in CHEAP_ROLES
        learn_from, choose_on = near if cheap else far
        for target in TARGETS:
            masks[group, target] = learn_masks(
                model,
                learn_from,
                validation=choose_on,
                circuit=circuit,
                group=group,
                target=target,
                config=config if cheap else reader_config,
            )
    return masks


def content_patches(masks: Mapping[tuple[str, str], Masks], circuit: Circuit) -> dict[str, Patch]:
    """What is tested in every version: "<group> <target>", the heads that most seeds select, and
    "<group> all", all heads of the group.
    """
    selected = {
        f"{group} {target}": Patch(circuit.role(group), found.agreed())
        for (group, target), found in masks.items()
    }
    whole = whole_groups(circuit, *dict.fromkeys(group for group, _ in masks))
    return selected | {f"{group} all": patch for group, patch in whole.items()}


def ceiling_patches(layers: Mapping[tuple[str, str], int]) -> dict[str, Patch]:
    """The whole residual stream at its best layer, as "ceiling <role> <target>"."""
    return {
        f"ceiling {role} {target}": Patch(role, resid=layer)
        for (role, target), layer in layers.items()
    }


@dataclass(frozen=True)
class Contents:
    """What the groups of one version's circuit carry, in that version and in others.

    Attributes:
        masks: (group, target) -> masks learned in `base`.
        tested: version -> its answers on the test pairs, with patches named by `content_patches`,
            in `base` by `ceiling_patches` too.
        base: the version whose circuit it is.
    """

    masks: Mapping[tuple[str, str], Masks]
    tested: Mapping[str, Patched]
    base: str

    @property
    def groups(self) -> list[str]:
        """The groups that have heads."""
        return list(dict.fromkeys(group for group, _ in self.masks))

    @property
    def tuned(self) -> list[str]:
        """The other versions."""
        return [version for version in self.tested if version != self.base]

    def n_selected(self, group: str, target: str) -> int:
        """How many heads more than half of the seeds select."""
        return len(self.masks[group, target].agreed())

    def above(self, version: str, group: str, target: str) -> Difference:
        """Score with the selected heads patched, less its floor; 0 where none was selected."""
        return self.tested[version].above_floor(f"{group} {target}", target)

    def drawn(self, version: str) -> dict[tuple[str, str], Difference | None]:
        """`above` for every group and target; None where no head was selected."""
        return {
            (group, target): self.above(version, group, target)
            if self.n_selected(group, target)
            else None
            for group, target in self.masks
        }

    def most(self, group: str, target: str) -> Difference:
        """The larger score above floor of two, in `base`: of the selected heads, and of all heads.

        Where no head is selected the score is the floor by construction, which says nothing.
        """
        whole = self.tested[self.base].above_floor(f"{group} all", target)
        return max(self.above(self.base, group, target), whole, key=lambda e: e.value)

    def lead(self, group: str, target: str) -> Difference:
        """By how much a target's score exceeds that of its closer rival on the same runs."""
        answers, patch = self.tested[self.base], f"{group} {target}"
        leads = [answers.lead(patch, target, rival) for rival in TARGETS if rival != target]
        return min(leads, key=lambda e: e.low)

    def ceiling(self, group: str, target: str) -> Estimate | None:
        """Score with the whole residual stream of the group's token patched at its best layer; None
        where that was not run.
        """
        answers = self.tested[self.base]
        name = f"ceiling {answers.patches[f'{group} {target}'].role} {target}"
        return answers.score(name, target) if name in answers.patches else None

    def fetching(self, version: str) -> Difference:
        """How much more often than in `base` the source's object is named with the selected value
        fetchers patched, pair by pair.
        """
        first, second = (
            self.tested[v].hits("value_fetcher object", "object") for v in (version, self.base)
        )
        return difference(first, second, clusters=self.tested[self.base].scenes)

    def better(self) -> list[str]:
        """Versions that answer the unpatched prompts clearly better than `base`."""

        def right(version: str):
            answers = self.tested[version]
            return answers.unpatched == answers.candidates["unchanged"]

        scenes = self.tested[self.base].scenes
        edges = {v: difference(right(v), right(self.base), clusters=scenes) for v in self.tuned}
        return [version for version, edge in edges.items() if direction(edge) == "higher"]


def content_of_groups(model: Model, circuit: Circuit, *, n_scenes: int, seed: int = 0) -> Patched:
    """Finding (ii) for one version: what A, B and C of `circuit` carry in `model`, a patch of all
    heads for each, named by letter. Stored.
    """
    data = encode_counterfactuals(
        model.tokenizer, interchanges(n_scenes, split="evaluation", seed=seed)
    )
    patches = {GROUPS[n].letter: p for n, p in whole_groups(circuit, *CONTENT).items()}
    return patch_pairs(model, data, patches=patches)


@dataclass(frozen=True)
class ContentChange:
    """What a group of the receiver's circuit carries in a fine-tuned version, beside what it brings
    to the receiver.

    Attributes:
        version, letter, content: e.g. "code", "A", "object".
        before, after: share of pairs that answer as the content says, in receiver and version.
        change: after less before, paired.
        gain: accuracy of the receiver with the version's group, less its own.
    """

    version: str
    letter: str
    content: str
    before: Estimate
    after: Estimate
    change: Difference
    gain: Difference

    @property
    def brings(self) -> bool:
        """Whether the group makes the receiver clearly better."""
        return direction(self.gain) == "higher"

    @property
    def carries_more(self) -> bool:
        """Whether the version's group clearly carries its content better."""
        return direction(self.change) == "higher"


def content_changes(
    holds: Mapping[str, Patched], cmaps: Mapping[str, CMAP], *, base: str
) -> list[ContentChange]:
    """Finding (ii) beside finding (iii), group by group.

    Args:
        holds: version, and `base` -> `content_of_groups`, on the same pairs.
        cmaps: version -> its activations in `base`.
    """
    first, changes = holds[base], []
    content = {GROUPS[name].letter: target for name, target in CONTENT.items()}
    for version, given in cmaps.items():
        for letter in first.patches:
            target = content[letter]
            after, before = holds[version].hits(letter, target), first.hits(letter, target)
            changes.append(
                ContentChange(
                    version=version,
                    letter=letter,
                    content=target,
                    before=first.score(letter, target),
                    after=holds[version].score(letter, target),
                    change=difference(after, before, clusters=first.scenes),
                    gain=given.gain(letter),
                )
            )
    return changes

"""Masks that a version learns for itself (DCM, section 5.1), beside the heads given by base.

The heads to choose from are those of base's circuit. If a fine-tuned version does the same with
other heads of a group, the heads that base selects miss it; a mask of its own does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrack.circuit.contents import CONTENT
from entrack.circuits import Circuit
from entrack.model.decoder import Model
from entrack.patching.dcm import learn_masks
from entrack.patching.group_patching import Prepared, patch_pairs
from entrack.patching.masks import DCMConfig, Masks
from entrack.patching.patches import Patch, Patched
from entrack.sites import Head
from entrack.stats.metrics import Difference, difference
from entrack.task.counterfactual_prompts import CounterfactualPrompts

OWN, GIVEN, ALL = "own", "given", "all"
"""Whose choice of heads is patched: the version's, base's, or no choice at all."""


@dataclass(frozen=True)
class OwnMasks:
    """Masks that one version learned for what each group carries, tested in this version.

    Attributes:
        masks: group -> masks for its content in `contents.CONTENT`.
        tested: answers on the test pairs, with patches "<group> own", "<group> given" and "<group>
            all".
    """

    masks: Mapping[str, Masks]
    tested: Patched

    @property
    def groups(self) -> list[str]:
        """The groups with masks."""
        return list(self.masks)

    def taken(self, group: str) -> tuple[Head, ...]:
        """The heads that more than half of the seeds select."""
        return self.masks[group].agreed()

    def above(self, group: str, which: str = OWN) -> Difference:
        """Score less floor with one choice of heads patched; 0 where it takes none."""
        return self.tested.above_floor(f"{group} {which}", CONTENT[group])

    def beyond(self, group: str, which: str) -> Difference:
        """Score of the version's own choice less that of another, on the same pairs. 0, without
        width, where both are the same heads.
        """
        own, other = (self.tested.hits(f"{group} {w}", CONTENT[group]) for w in (OWN, which))
        same = self.tested.patches[f"{group} {OWN}"] == self.tested.patches[f"{group} {which}"]
        if same:  # nothing was compared: the rule of three would give an interval all the same
            return Difference(0.0, 0.0, 0.0, len(own), better=0, worse=0, p_value=1.0)
        return difference(own, other, clusters=self.tested.scenes)


def own_masks(
    model: Model,
    train: CounterfactualPrompts,
    *,
    validation: CounterfactualPrompts,
    test: CounterfactualPrompts,
    circuit: Circuit,
    given: Mapping[str, Sequence[Head]],
    config: DCMConfig,
) -> OwnMasks:
    """Learn masks in `model` for what each group carries, and patch what they take. Its parts are
    stored.

    Args:
        train, validation, test: pairs of different splits.
        circuit: the circuit of base; its groups without heads are left out, and structure readers.
        given: group -> the heads that base selects, for each of these groups.

    Raises as `learn_masks` and `patch_pairs` do.

    Cost: as `learn_masks` for three groups, and as `patch_pairs` on the test pairs once."""
    prepared = [Prepared(model, data) for data in (train, validation)]
    masks = {
        group: learn_masks(
            model,
            prepared[0],
            validation=prepared[1],
            circuit=circuit,
            group=group,
            target=target,
            config=config,
        )
        for group, target in CONTENT.items()
        if circuit.groups[group]
    }
    chosen = {
        f"{group} {which}": Patch(circuit.role(group), tuple(heads))
        for group, learned in masks.items()
        for which, heads in (
            (OWN, learned.agreed()),
            (GIVEN, given[group]),
            (ALL, circuit.groups[group]),
        )
    }
    return OwnMasks(masks, patch_pairs(model, test, patches=chosen))

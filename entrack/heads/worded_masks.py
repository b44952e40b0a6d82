"""A mask learned for each wording of the source, as the paper learns them (appendix H), beside all
heads of the group.

The chapters patch all heads of a group, whatever the wording: a fixed patch. If a wording scores
less so, another choice of heads may still carry the position; a mask of its own would find it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.wordings import CONTROL, Wording
from entrack.circuits import Circuit
from entrack.model.decoder import Model
from entrack.patching.dcm import PUBLISHED, learn_masks
from entrack.patching.group_patching import Prepared, patch_pairs
from entrack.patching.masks import Masks
from entrack.patching.patches import Patch, Patched
from entrack.sites import Head
from entrack.stats.metrics import Difference, difference
from entrack.task.counterfactual_pairs import expected_candidate, interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals

FEW_STEPS = replace(PUBLISHED, steps=16, batch=14)
"""The paper's one price and its choice of a mask, with a quarter of its steps."""


@dataclass(frozen=True)
class WordedMasks:
    """What DCM learned from sources worded in one way.

    Attributes:
        masks: group -> masks for the answer that the wording expects.
        wording: the test pairs, with patches "<group>", all its heads, and "<group> mask".
    """

    masks: Mapping[str, Masks]
    wording: Wording

    @property
    def groups(self) -> list[str]:
        """The groups with masks."""
        return list(self.masks)

    def taken(self, group: str) -> tuple[Head, ...]:
        """The heads that the mask takes from the source."""
        return self.masks[group].agreed()

    def above(self, group: str) -> Difference:
        """Score of the expected answer less its floor, with the mask's heads patched."""
        return self.wording.above(masked(group))

    def beyond(self, group: str) -> np.ndarray:
        """1, 0 or -1: answered as expected with the mask's heads patched, less with all [pair]."""
        expected = expected_candidate(self.wording.name)
        first, second = (self.wording.patched.hits(p, expected) for p in (masked(group), group))
        return first.astype(float) - second


def masked(group: str) -> str:
    """The name of the patch of the mask's heads of a group."""
    return f"{group} mask"


def worded_masks(
    model: Model,
    fixed: Wording,
    *,
    circuit: Circuit,
    n_learn: int,
    n_test: int,
    format: str = "alternative",
    seed: int = 0,
) -> WordedMasks:
    """Learn a mask for every group of `fixed` from sources of its wording (`FEW_STEPS`). Stored.

    Args:
        fixed: the wording with all heads of each group patched, the patches named by group.
        n_learn: scenes to learn from, and as many others to choose the mask on.
        n_test: of the scenes of `fixed`, so many of the first are the test pairs.
        format, seed: as `fixed` was made.

    Raises as `interchanges`, `learn_masks` and `patch_pairs` do.

    Cost: as `learn_masks` once for a group; and as `patch_pairs` on the test pairs once if any mask
    takes some heads and not all. With all the answers are those of `fixed`, with none unpatched."""
    expected = expected_candidate(fixed.name)
    learn, choose = (
        Prepared(
            model,
            encode_counterfactuals(
                model.tokenizer,
                interchanges(n_learn, split=split, name=fixed.name, seed=seed, format=format),
            ),
            expected,
        )
        for split in ("discovery", "pruning")
    )
    masks = {
        group: learn_masks(
            model,
            learn,
            validation=choose,
            circuit=circuit,
            group=group,
            target=expected,
            config=replace(FEW_STEPS, seeds=(seed,)),
        )
        for group in fixed.groups
    }
    test = first_scenes(fixed, n_test)
    taken = {
        masked(group): Patch(circuit.role(group), learned.agreed())
        for group, learned in masks.items()
    }
    return WordedMasks(masks, replace(test, patched=_with(model, test, taken)))


def first_scenes(wording: Wording, n: int) -> Wording:
    """The pairs of its first `n` scenes."""
    patched = wording.patched
    kept = np.isin(patched.scenes, list(dict.fromkeys(patched.scenes.tolist()))[:n])
    return replace(
        wording,
        pairs=tuple(pair for pair, keep in zip(wording.pairs, kept, strict=True) if keep),
        patched=replace(
            patched,
            candidates={name: tokens[kept] for name, tokens in patched.candidates.items()},
            answers=patched.answers[:, kept],
            unpatched=patched.unpatched[kept],
            scenes=patched.scenes[kept],
        ),
    )


def pooled(found: Sequence[WordedMasks], group: str) -> Difference:
    """Score with the mask's heads less that with all, mean over the pairs of the reworded sources;
    paired, over scenes, which are the same for every wording. Negative = the mask carries less.

    The plain source and the control are left out."""
    chosen = [one for one in found if one.wording.name not in ("position", CONTROL)]
    beyond = np.concatenate([one.beyond(group) for one in chosen])
    scenes = np.concatenate([one.wording.patched.scenes for one in chosen])
    return difference(beyond, np.zeros(len(beyond)), clusters=scenes)


def _with(model: Model, test: Wording, taken: Mapping[str, Patch]) -> Patched:
    """The answers of `test` with those of the masks' patches, of which only those are run that are
    neither empty nor a whole group.
    """
    plain, expected = test.patched, expected_candidate(test.name)
    known = {patch: row for patch, row in zip(plain.patches.values(), plain.answers, strict=True)}
    known |= {patch: plain.unpatched for patch in taken.values() if not patch.heads}
    new = {name: patch for name, patch in taken.items() if patch not in known}
    if new:
        data = encode_counterfactuals(model.tokenizer, list(test.pairs))
        ran = patch_pairs(model, data, patches=new, expected_candidate=expected)
        known |= dict(zip(new.values(), ran.answers, strict=True))
    patches = {**plain.patches, **taken}
    return replace(plain, patches=patches, answers=np.stack([known[p] for p in patches.values()]))

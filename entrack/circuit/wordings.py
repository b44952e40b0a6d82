"""What counts as position: the source reworded, and rival ideas of position that predict other
answers.

All heads of some groups are patched from the source, whose wording a desideratum describes. The
base prompt stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrack.model.decoder import Model
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.stats.metrics import Difference, Estimate, rank_correlation
from entrack.task.counterfactual_pairs import expected_candidate, interchanges
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals
from entrack.task.desiderata import DESIDERATA, Counterfactual

PAPER_WORDINGS = tuple(
    name
    for name, entry in DESIDERATA.items()
    if name == "position" or entry.origin == "paper, variation"
)
"""The plain position desideratum, the paper's ten wordings and its control (appendix H)."""
CONTROL = "incorrect_segment"
"""Expects one position too far: heads that carry the position must score nothing."""
SCORED_OTHERWISE = ("altered_box_obj_order", "add_seg_start")
"""Wordings that the released code scores in another way: not comparable with the paper."""
WITH_FILLER = ("filler_before", "filler_after", "boxes_reordered")
"""Sources in which the order of boxes, the number of the token and the label disagree."""
RIVALS = {
    "token_from_start": "tokens from the start",
    "token_from_end": "tokens from the end",
    "label": "the label",
}
"""Ideas of position other than the order of boxes, as candidates of `Patched`."""


@dataclass(frozen=True)
class Wording:
    """Answers with heads patched from sources worded in one way.

    Attributes:
        name: the desideratum that describes the source, in DESIDERATA.
        pairs: the prompts.
        patched: the answers, a patch per group, named as in `sites.GROUPS`.
    """

    name: str
    pairs: tuple[Counterfactual, ...]
    patched: Patched

    @property
    def title(self) -> str:
        """Its name for tables and figures."""
        return "Plain (not reworded)" if self.name == "position" else DESIDERATA[self.name].title

    @property
    def groups(self) -> list[str]:
        """The groups that were patched."""
        return list(self.patched.patches)

    @property
    def rivals(self) -> list[str]:
        """The ideas of position that predict another answer than the expected one."""
        return [name for name in RIVALS if name in self.patched.candidates]

    def above(self, group: str) -> Difference:
        """Score of the expected answer less its floor."""
        return self.patched.above_floor(group, expected_candidate(self.name))

    def floor(self) -> Estimate:
        """Score of the expected answer with nothing patched."""
        return self.patched.floor(expected_candidate(self.name))

    def lead(self, group: str, rival: str) -> Difference:
        """By how much the expected answer's score exceeds that of a rival on the same runs."""
        return self.patched.lead(group, expected_candidate(self.name), rival)


def patch_wording(
    model: Model,
    name: str,
    *,
    patches: Mapping[str, Patch],
    n_scenes: int,
    format: str = "alternative",
    seed: int = 0,
) -> Wording:
    """Patch groups from sources worded as desideratum `name` says. Stored.

    Raises as `interchanges` and `patch_pairs` do.
    """
    pairs = interchanges(n_scenes, split="evaluation", name=name, seed=seed, format=format)
    data = encode_counterfactuals(model.tokenizer, pairs)
    patched = patch_pairs(model, data, patches=patches, expected_candidate=expected_candidate(name))
    return Wording(name, tuple(pairs), patched)


def source_accuracy(model: Model, wording: Wording) -> Estimate:
    """Share of the sources that the model itself answers right, with nothing patched. Stored.

    A source that the model does not understand has no position to give.
    """
    source = encode_counterfactuals(model.tokenizer, wording.pairs).source
    alone = CounterfactualPrompts(
        base=source, source=source, answers=source.answers, alternatives={}
    )
    answers = patch_pairs(
        model, alone, patches={"nothing": Patch("last")}, expected_candidate="object"
    )
    return answers.floor("object")


def surviving(wordings: Sequence[Wording], group: str) -> Estimate:
    """How many of the reworded sources keep half of the plain score: by value, with the numbers
    that do so by their whole interval (low) and by its upper end (high).

    The plain source and the control are not counted.
    """
    half = next(w.above(group).value for w in wordings if w.name == "position") / 2
    scores = [w.above(group) for w in wordings if w.name not in ("position", CONTROL)]
    value, low, high = (
        float(sum(getattr(score, end) > half for score in scores))
        for end in ("value", "low", "high")
    )
    return Estimate(value, low, high, len(scores))


def agreement(
    wordings: Sequence[Wording], group: str, *, paper: Mapping[str, float]
) -> Estimate | None:
    """Rank correlation of our scores above floor with the paper's over comparable wordings; None
    where all scores are the same.
    """
    left_out = ("position", CONTROL, *SCORED_OTHERWISE)
    compared = [w for w in wordings if w.name not in left_out]
    ours = [w.above(group).value for w in compared]
    theirs = [paper[w.name] for w in compared]
    return rank_correlation(ours, theirs) if len(set(ours)) > 1 else None


def weakest_lead(wordings: Sequence[Wording], group: str, rival: str) -> Difference | None:
    """The least lead over a rival, of all sources in which it differs; None where nothing was
    patched.
    """
    leads = [w.lead(group, rival) for w in wordings if rival in w.rivals and group in w.groups]
    return min(leads, key=lambda lead: lead.low, default=None)

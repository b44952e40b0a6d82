"""The rows of the published tables and figures, as `published` gives them: tuples with names.

Heads are pairs (layer, head), both from 0. Shares are between 0 and 1 unless they say percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LayerHead = tuple[int, int]


class FaithfulnessRow(NamedTuple):
    """A row of Table 1: accuracies of the model, the circuit, random circuits; circuit divided by
    model.
    """

    full: float
    circuit: float
    random: float
    faithfulness: float


class OverlapRow(NamedTuple):
    """Number of heads in the first circuit, in the second, and in both."""

    first: int
    second: int
    shared: int


class ScoredHeadRow(NamedTuple):
    """A head and its path-patching score; negative = patching it lowers the probability of the
    answer.
    """

    head: LayerHead
    score: float


class StageRow(NamedTuple):
    """One stage of path patching.

    Attributes:
        receivers: number of top heads of the group before that take the patched input; None = the
            logits.
        candidates: number of heads kept, and the score of the last of them in `cutoff`. For the
            value fetchers the heads that are also position transmitters were then taken out.
        offset: score of heads that cannot act on the receivers; None where all can. Not 0 where the
            code was wrong.
        signs: number of heads, of 1,024, with negative, positive and zero score.
        top: the 20 most negative heads.
        circuit: the group's heads in the released circuit.
    """

    receivers: int | None
    candidates: int
    cutoff: float
    offset: float | None
    signs: tuple[int, int, int]
    top: tuple[ScoredHeadRow, ...]
    circuit: tuple[ScoredHeadRow, ...]


class PathPatchingRow(NamedTuple):
    """The seed that was released for one model, and its four stages by group."""

    seed: int
    stages: Mapping[str, StageRow]


class PrunedHeadRow(NamedTuple):
    """A candidate head: circuit accuracy with its rivals K gone, the same with the head gone too,
    and the relative gain.
    """

    head: LayerHead
    accuracy: float
    accuracy_without: float
    gain: float


class PruningRow(NamedTuple):
    """Minimality of one group.

    Attributes:
        k: size of K, 30 % of the group.
        kept_at_1_percent, kept_at_0_percent: heads whose gain reaches 0.01, or 0.
        released: heads in the released circuit.
        threshold: the threshold that gives exactly the released heads.
        knockout: lowest and highest accuracy of the circuit without a single head of the group.
        heads: every candidate.
    """

    k: int
    kept_at_1_percent: int
    kept_at_0_percent: int
    released: int
    threshold: float
    knockout: tuple[float, float]
    heads: tuple[PrunedHeadRow, ...]


class KnockedRow(NamedTuple):
    """Accuracy of the circuit and of the model, both without the heads K."""

    circuit: float
    model: float


class CompletenessRow(NamedTuple):
    """K = each group, by name, and K = random halves of the circuit."""

    groups: Mapping[str, KnockedRow]
    random: tuple[KnockedRow, ...]


class SelectedRow(NamedTuple):
    """The heads that DCM patches, the size of their group, and the share of test prompts with the
    expected answer.
    """

    heads: tuple[LayerHead, ...]
    group: int
    accuracy: float


class PatchedRow(NamedTuple):
    """Percent of prompts with the expected answer: mean and population standard deviation of the
    runs.
    """

    mean: float
    sd: float
    runs: tuple[float, ...]


class VariationRow(NamedTuple):
    """A variation of the position desideratum: the heads DCM selects, its test accuracy, and
    activation patching.
    """

    heads: tuple[LayerHead, ...]
    dcm_accuracy: float
    patched: PatchedRow


class DonatedRow(NamedTuple):
    """Accuracy of Llama with a donor's heads, and how many heads were patched (None = all four
    groups).
    """

    accuracy: float
    heads: int | None

"""What the slips of the released code change, each switched on and off on the same model and, where
it can be, the same runs.

The paper's own files cannot be rerun here, so these are the same slips made on purpose in our code
(`as_published`), one at a time. They say what a slip does to this family. What it did to a
published number is known only where that number says so."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from entrack.circuit.ablation import AblationScores, score_circuits, score_without_heads
from entrack.circuit.discovery import stage_scores
from entrack.circuit.faithfulness import Faithfulness, random_circuit
from entrack.circuit.search import FoundCircuit
from entrack.circuits import Circuit
from entrack.model.activations import Means
from entrack.model.decoder import Model
from entrack.model.sites import GROUPS, Head, all_heads
from entrack.patching.accuracy import score_task
from entrack.patching.dcm import Masks
from entrack.patching.group_patching import Patch, patch_pairs
from entrack.patching.path_patching import PathConfig
from entrack.patching.weight_swap import graft
from entrack.stats.metrics import Estimate, mean
from entrack.store.results import stored
from entrack.task.boxes import scenes
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.desiderata import build
from entrack.task.prompts import CounterfactualPrompts, Prompts, encode_counterfactuals


@dataclass(frozen=True)
class Slip:
    """One quantity with a slip off and on.

    Attributes:
        name: of the slip, as in `published.slips`.
        title: the slip and what is measured, for a figure.
        off, on: the quantity as it should be, and as the released code has it; shares between 0 and
            1. An interval of no width is an exact count.
    """

    name: str
    title: str
    off: Estimate
    on: Estimate

    @property
    def change(self) -> float:
        """On less off."""
        return self.on.value - self.off.value

    @property
    def clear(self) -> bool:
        """Whether the two intervals lie apart: then the slip changes this number by more than
        chance.
        """
        return self.on.low > self.off.high or self.on.high < self.off.low

    @property
    def counted(self) -> bool:
        """Whether both are exact counts, which chance has no part in."""
        return self.off.low == self.off.high and self.on.low == self.on.high

    @property
    def told(self) -> str:
        """Off, on, and whether that is beyond chance, as the end of a sentence."""
        judged = "" if self.counted else ", beyond chance" if self.clear else ", not beyond chance"
        return f"{shown(self.off)} without the slip and {shown(self.on)} with it{judged}"


def exact(value: float, n: int) -> Estimate:
    """A count or a quotient of counts, which has no interval of its own."""
    return Estimate(float(value), float(value), float(value), n)


def shown(estimate: Estimate) -> str:
    """ "0.66 [0.62, 0.70]", or "0.66" for an exact count."""
    return f"{estimate.value:.2f}" if estimate.low == estimate.high else f"{estimate:.2f}"


def summary(slips: Sequence[Slip]) -> str:
    """How many slips change their number, in a sentence: estimates beyond chance, and exact counts
    that are not the same.
    """
    estimated, counted = (
        [slip for slip in slips if slip.counted == exact_count] for exact_count in (False, True)
    )
    parts = []
    if estimated:
        beyond = sorted(
            (slip for slip in estimated if slip.clear), key=lambda slip: -abs(slip.change)
        )
        largest = [
            f" ({'the largest: ' if len(beyond) > 1 else ''}“{slip.title}”, {slip.change:+.2f})"
            for slip in beyond[:1]
        ]
        parts.append(
            f"{_of(estimated, 'estimate')}, {_verb(len(beyond), 'is', 'are')} beyond"
            f" chance{''.join(largest)}"
        )
    if counted:
        parts.append(
            f"{_of(counted, 'exact count')},"
            f" {_verb(sum(bool(slip.change) for slip in counted), 'changes', 'change')}"
        )
    return f"Of {'; of '.join(parts)}." if parts else "Nothing was measured."


def _of(slips: Sequence[Slip], what: str) -> str:
    return f"{len(slips)} {what}{'' if len(slips) == 1 else 's'}"


def _verb(n: int, one: str, more: str) -> str:
    return f"{n or 'none'} {one if n < 2 else more}"


@dataclass(frozen=True)
class PruningScores:
    """Minimality scores of one group, from one set of knock-outs read in four ways.

    Attributes:
        heads: candidates of the group.
        scores: way -> score [head]: "plain"; "rounded" (accuracies to two decimals); "is_not" (two
            heads of one number in different layers never removed together); "both".
    """

    heads: tuple[Head, ...]
    scores: dict[str, np.ndarray]

    def kept(self, way: str, threshold: float) -> Estimate:
        """Share of the candidates that stay."""
        return exact(float((self.scores[way] >= threshold).mean()), len(self.heads))


def pruning_scores(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    group: str,
    means: Means,
    share: float = 0.3,
) -> PruningScores:
    """Minimality of one group, plain and with the released code's rounding and `is not`. Stored.

    The algorithm is `minimality.measure_minimality`'s; the pair knock-outs are shared by the four
    ways."""
    return _pruning(model, prompts, circuit, group, means, share)


@stored("slip-pruning")
def _pruning(
    model: Model, prompts: Prompts, circuit: Circuit, group: str, means: Means, share: float
) -> PruningScores:
    heads = circuit.groups[group]
    pairs = [frozenset((v, u)) for i, v in enumerate(heads) for u in heads[i:]]

    def accuracy(sets: Sequence) -> dict:
        found = score_without_heads(
            model, prompts, circuit=circuit, means=means, removed={group: [tuple(s) for s in sets]}
        )[group]
        return dict(zip(sets, found.hits.mean(1), strict=True))

    table = accuracy(pairs)
    rivals = {
        way: {v: _rivals(v, heads, table, way, share) for v in heads}
        for way in ("plain", "rounded", "is_not", "both")
    }
    wanted = {
        frozenset(k) | extra
        for way in rivals.values()
        for v, k in way.items()
        for extra in (frozenset(), frozenset([v]))
    }
    table |= accuracy(sorted(wanted - set(table), key=sorted))
    scores = {
        way: np.array(
            [_score(table[frozenset(k)], table[frozenset(k) | {v}], way) for v, k in chosen.items()]
        )
        for way, chosen in rivals.items()
    }
    return PruningScores(heads=heads, scores=scores)


def _rivals(
    v: Head, heads: Sequence[Head], table: dict, way: str, share: float
) -> tuple[Head, ...]:
    """The set K of `v`: those whose loss makes its own loss hurt most."""

    def read(u: Head) -> float:
        together = (
            frozenset([v]) if way in ("is_not", "both") and u.head == v.head else frozenset([v, u])
        )
        return _rounded(table[together], way)

    effect = {u: _rounded(table[frozenset([u])], way) - read(u) for u in heads if u != v}
    best = sorted(effect, key=lambda u: (-effect[u], u))[: math.ceil(share * len(heads))]
    return tuple(u for u in best if effect[u] > 0)


def _rounded(accuracy: float, way: str) -> float:
    return round(float(accuracy), 2) if way in ("rounded", "both") else float(accuracy)


def _score(without: float, with_v: float, way: str) -> float:
    without, with_v = _rounded(without, way), _rounded(with_v, way)
    if with_v == 0:
        return math.inf if without > 0 else 0.0
    return without / with_v - 1


def pruning_slips(found: PruningScores) -> list[Slip]:
    """Three slips of the pruning, as the share of candidate heads that it keeps."""
    return [
        Slip(
            "threshold_mixed",
            "pruned at 0 % instead of 1 %: heads kept",
            found.kept("plain", 0.01),
            found.kept("plain", 0.0),
        ),
        Slip(
            "rounding",
            "accuracies rounded: heads kept",
            found.kept("plain", 0.01),
            found.kept("rounded", 0.01),
        ),
        Slip(
            "is_not",
            "pairs of one head number skipped: heads kept",
            found.kept("plain", 0.01),
            found.kept("is_not", 0.01),
        ),
    ]


def rounded_faithfulness(scores: Faithfulness) -> Slip:
    """Faithfulness from accuracies rounded to two decimals first; the interval is that of the exact
    one.
    """
    on = round(float(scores.hits[0].mean()), 2) / round(float(scores.full.mean()), 2)
    return Slip(
        "rounding",
        "accuracies rounded: faithfulness",
        scores.faithfulness(0),
        exact(on, len(scores.full)),
    )


def sample_overlap(held_out: Faithfulness, pruned_on: Faithfulness) -> Slip:
    """Faithfulness on unseen prompts (off), and on the prompts that the circuit was pruned on
    (on).
    """
    return Slip(
        "sample_overlap",
        "evaluated on the pruning prompts: faithfulness",
        held_out.faithfulness(0),
        pruned_on.faithfulness(0),
    )


def random_corrupt_position(
    model: Model,
    clean: Prompts,
    corrupt: Prompts,
    *,
    found: FoundCircuit,
    n_top: int = 3,
    seed: int = 0,
) -> Slip:
    """Stage D with the corrupt z of the queried label (off, from the search itself) or of a random
    label (on). Stored.

    Args:
        clean, corrupt: the first pairs of the search.

    The quantity is the loss of probability when one of the `n_top` strongest structure readers is
    patched, averaged.
    Cost: stage D of path patching on these pairs.
    """
    name = "structure_reader"
    off, receivers, role = (
        found.discovery.scores[name],
        found.discovery.receivers[name],
        found.discovery.structure_role,
    )
    config = PathConfig(as_published=True, seed=seed)
    on = stage_scores(
        model,
        clean,
        corrupt=corrupt,
        role=role,
        receivers=receivers,
        via=GROUPS[name].composition,
        config=config,
    )
    losses = (
        mean(
            -np.mean(
                [s.values[h.layer, h.head, : len(clean)] for h in off.ranked()[:n_top]], axis=0
            )
        )
        for s in (off, on)
    )
    return Slip(
        "struct_reader_random_corrupt", "stage D reads a random label: effect of its heads", *losses
    )


def random_with_replacement(
    model: Model, prompts: Prompts, *, circuit: Circuit, means: Means, n_draws: int, seed: int = 0
) -> list[Slip]:
    """Random circuits drawn without (off) and with replacement (on): how large they are, and how
    accurate.
    """
    generator = np.random.default_rng(seed)
    off = [random_circuit(model, circuit, seed=seed + i) for i in range(n_draws)]
    on = []
    for _ in range(n_draws):
        drawn = {
            name: generator.integers(model.n_layers * model.n_heads, size=len(heads))
            for name, heads in circuit.groups.items()
        }
        groups = {
            n: tuple(sorted({Head(*map(int, divmod(int(i), model.n_heads))) for i in numbers}))
            for n, numbers in drawn.items()
        }
        on.append(replace(circuit, groups=groups, model=model.name))
    found = _circuit_scores(model, prompts, [*off, *on], means)
    sizes = mean(np.array([c.size / circuit.size for c in on]))
    return [
        Slip(
            "random_circuit",
            "random circuits with replacement: share of the heads",
            exact(1.0, n_draws),
            sizes,
        ),
        Slip(
            "random_circuit",
            "random circuits with replacement: accuracy",
            mean(found.hits[:n_draws].mean(0)),
            mean(found.hits[n_draws:].mean(0)),
        ),
    ]


@stored("slip-random")
def _circuit_scores(
    model: Model, prompts: Prompts, circuits: Sequence[Circuit], means: Means
) -> AblationScores:
    return score_circuits(model, prompts, circuits=circuits, means=means)


def random_head_layers(n_layers: int, n_heads: int) -> Slip:
    """Share of a model's heads that a random circuit can hold: layer = number // n_heads (off), or
    // n_layers (on).

    A number is drawn for each head, from 0 to `n_layers * n_heads - 1`; the head within its layer
    is number % n_heads in both. With as many layers as heads nothing changes; with more layers,
    only the first `n_heads` of them are ever drawn."""
    total = n_layers * n_heads
    off, on = (
        {(number // by, number % n_heads) for number in range(total)} for by in (n_heads, n_layers)
    )
    return Slip(
        "random_circuit",
        "layer of a random head by // num_layers: heads in reach",
        *(exact(sum(layer < n_layers for layer, _ in drawn) / total, total) for drawn in (off, on)),
    )


def label_without_space(model: Model, *, layer: int, n_scenes: int, seed: int = 0) -> Slip:
    """The label desideratum scored by the word with (off) and without (on) its leading space, on
    the same patched runs.

    The whole residual stream entering `layer` at the queried label is patched, which hands the
    label over."""
    drawn = interchanges(n_scenes, split="evaluation", seed=seed)
    spaced, bare = (
        encode_counterfactuals(model.tokenizer, [replace(pair, bare_answer=bare) for pair in drawn])
        for bare in (False, True)
    )
    off = patch_pairs(model, spaced, patches={"label": Patch("query_label", resid=layer)})
    on = replace(off, candidates={**off.candidates, "label": bare.answers.numpy()})
    return Slip(
        "label_target",
        "label scored without its space: score",
        *(patched.score("label", "label") for patched in (off, on)),
    )


def base_position_zero(model: Model, *, circuit: Circuit, n: int, seed: int = 0) -> list[Slip]:
    """The position desideratum with sources that never share the base's position (off), and as
    released (on).
    """
    name = "position_detector"
    patches = {"C": Patch(circuit.role(name), circuit.groups[name])}
    off, on = (
        patch_pairs(
            model,
            _pairs(model, "position", n, seed, released),
            patches=patches,
            expected_candidate="position",
        )
        for released in (False, True)
    )
    return [
        Slip(
            "base_position_zero",
            "position drawn as released: score with no patch",
            off.floor("position"),
            on.floor("position"),
        ),
        Slip(
            "base_position_zero",
            "position drawn as released: score of C",
            off.score("C", "position"),
            on.score("C", "position"),
        ),
    ]


def _pairs(model: Model, name: str, n: int, seed: int, as_published: bool) -> CounterfactualPrompts:
    return encode_counterfactuals(
        model.tokenizer, build(name, n, split="evaluation", seed=seed, as_published=as_published)
    )


def padded_position(model: Model, *, circuit: Circuit, n: int, seed: int = 0) -> Slip:
    """Sources of another length read at their own last token (off), or where the longest prompt
    ends (on): score of B.
    """
    name = "position_transmitter"
    drawn = build("altered_box_obj_order", n, split="evaluation", seed=seed, as_published=True)
    patches = {"B": Patch(circuit.role(name), circuit.groups[name])}
    scores = []
    for padded in (False, True):
        data = encode_counterfactuals(
            model.tokenizer, [replace(pair, padded_source=padded) for pair in drawn]
        )
        scores.append(
            patch_pairs(model, data, patches=patches, expected_candidate="position").score(
                "B", "position"
            )
        )
    return Slip("padded_position", "source read behind its end: score of B", *scores)


def structure_reader_position(
    model: Model, *, circuit: Circuit, n_scenes: int, seed: int = 0
) -> Slip:
    """Group D patched from the source's earlier label (off), or from where the base has its own
    (on): label score.
    """
    name = "structure_reader"
    data = encode_counterfactuals(
        model.tokenizer, interchanges(n_scenes, split="evaluation", seed=seed)
    )
    role = circuit.role(name)
    moved = replace(
        data, source=replace(data.source, roles={**data.source.roles, role: data.base.at(role)})
    )
    patches = {"D": Patch(role, circuit.groups[name])}
    return Slip(
        "struct_reader_source_position",
        "D's source read at the base's place: answers unchanged",
        *(patch_pairs(model, d, patches=patches).score("D", "unchanged") for d in (data, moved)),
    )


def dropped_o_proj(receiver: Model, donor: Model, *, n_scenes: int, seed: int = 0) -> Slip:
    """Accuracy of a LoRA version as it is (off), and without the update of its o_proj, as hooked
    runs had it (on).
    """
    asked = scenes(n_scenes, split="evaluation", seed=seed)
    every = all_heads(receiver.n_layers, receiver.n_heads)
    dropped = graft(
        receiver, donor, heads=every, matrices="qkv", name=f"{donor.name} without its o_proj update"
    )
    off, on = (score_task(model, asked).accuracy() for model in (donor, dropped))
    return Slip(
        "goat_o_proj_lora_dropped", f"o_proj update of {donor.version} dropped: accuracy", off, on
    )


def heads_selected(masks: Masks, *, prefer: str) -> Estimate:
    """Share of a group's heads in the masks that validate best, those with "fewer" or with "more"
    heads where masks tie.
    """
    chosen = replace(masks, config=replace(masks.config, prefer=prefer, slack=0.0))
    return exact(
        float(np.mean([len(chosen.selected(s)) for s in range(len(masks.paths))]))
        / len(masks.heads),
        len(masks.heads),
    )


def tied_masks(masks: Masks) -> Slip:
    """Heads that DCM selects when masks that validate best tie: the fewest (off) or the most
    (on).
    """
    letter = GROUPS[masks.group].letter
    return Slip(
        "dcm_tie_break",
        f"DCM of {letter}, ties to more heads: heads selected",
        *(heads_selected(masks, prefer=p) for p in ("fewer", "more")),
    )

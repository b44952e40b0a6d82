"""The whole search for one model's circuit, as every chapter uses it: discover, choose the size,
prune; and where the strongest heads look, beside where their group should.

Each step works on scenes of its own split: discovery, then pruning; evaluation is left for the
chapters. Attention is not effect: a head may work without reading where its group is said to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from entrack.circuit.discovery import Discovery, DiscoveryConfig, discover
from entrack.circuit.faithfulness import SizeCurve, choose_size
from entrack.circuit.minimality import Minimality, MinimalityConfig, measure_minimality
from entrack.circuits import Circuit, reads_from
from entrack.model.activations import Means, mean_z
from entrack.model.decoder import Model
from entrack.patching.attention_mass import attention_mass
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import Estimate
from entrack.store.results import stored
from entrack.task.draws import examples, pairs
from entrack.task.prompts import Prompts, encode, encode_pairs

# Not 1.0: all heads that help at all are hundreds, and no circuit of few heads.
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class CircuitSettings:
    """Prompts and rules of the search.

    Attributes:
        format, n_boxes, seed: of all prompts.
        n_pairs: clean/corrupt pairs for path patching (the paper: 300).
        n_means: prompts behind the means that ablate (the paper: 500).
        discovery: how receivers are chosen, and where structure readers are looked for.
        minimality: what is kept.
    """

    format: str = "alternative"
    n_boxes: int = 7
    seed: int = 0
    n_pairs: int = 21
    n_means: int = 112
    discovery: DiscoveryConfig = DiscoveryConfig()
    minimality: MinimalityConfig = MinimalityConfig()

    @property
    def n_held_out(self) -> int:
        """Prompts on which the size is chosen and minimality is judged (the paper: 100 for the
        latter): four for each pair.
        """
        return 4 * self.n_pairs


@dataclass(frozen=True)
class FoundCircuit:
    """A circuit and how it came about.

    Attributes:
        discovery: the four score maps.
        curve: accuracy against size, and the chosen candidate.
        minimality: what each candidate head contributes.
        circuit: the candidate less the heads that contribute too little.
    """

    discovery: Discovery
    curve: SizeCurve
    minimality: Minimality
    circuit: Circuit

    def kept(self, group: str) -> tuple[Head, ...]:
        """The heads of a group of the circuit, strongest effect first."""
        ranked = self.discovery.scores[group].ranked()
        return tuple(head for head in ranked if head in self.circuit.groups[group])

    def dropped(self, group: str) -> tuple[Head, ...]:
        """Those of the four strongest heads of a stage that the circuit does not have."""
        strongest = self.discovery.scores[group].ranked()[:4]
        return tuple(head for head in strongest if head not in self.circuit.groups[group])


def find_circuit(model: Model, settings: CircuitSettings = CircuitSettings()) -> FoundCircuit:
    """Discover, size and prune the circuit of `model`; every step is stored, so an interrupted
    search goes on.

    Raises SiteError when a group comes out empty.
    """
    options = {"n_boxes": settings.n_boxes, "seed": settings.seed, "format": settings.format}
    clean, corrupt = encode_pairs(
        model.tokenizer, pairs(settings.n_pairs, split="discovery", **options)
    )
    held_out = encode(model.tokenizer, examples(settings.n_held_out, split="pruning", **options))
    return search_circuit(
        model,
        clean,
        corrupt=corrupt,
        held_out=held_out,
        means=ablation_means(model, settings),
        settings=settings,
    )


def search_circuit(
    model: Model,
    clean: Prompts,
    *,
    corrupt: Prompts,
    held_out: Prompts,
    means: Means,
    settings: CircuitSettings,
) -> FoundCircuit:
    """The search on prompts of any task whose roles are those of `boxes.ROLES`.

    Args:
        clean, corrupt: pairs for path patching, of equal lengths pair by pair.
        held_out: prompts on which the size is chosen and minimality is judged.
        means: mean head outputs that ablate.
        settings: only its rules are used, `discovery` and `minimality`.

    Raises SiteError when a group comes out empty."""
    discovery = discover(model, clean, corrupt=corrupt, config=settings.discovery)
    curve = choose_size(model, held_out, discovery=discovery, means=means, shares=SHARES)
    minimality = measure_minimality(
        model, held_out, circuit=curve.circuit, means=means, config=settings.minimality
    )
    return FoundCircuit(
        discovery=discovery, curve=curve, minimality=minimality, circuit=minimality.pruned()
    )


def circuit_of(
    model: Model,
    *,
    structure_role: str,
    n_pairs: int = CircuitSettings.n_pairs,
    format: str = "alternative",
    seed: int = 0,
) -> Circuit:
    """The pruned circuit of `model`, by the settings that a chapter's reader may change. Stored.

    Raises as `find_circuit` does.
    """
    config = DiscoveryConfig(structure_role=structure_role)
    settings = CircuitSettings(format=format, n_pairs=n_pairs, seed=seed, discovery=config)
    return find_circuit(model, settings).circuit


def ablation_means(model: Model, settings: CircuitSettings = CircuitSettings()) -> Means:
    """Mean head outputs over prompts whose question names a label of no box, as in the paper.
    Stored.
    """
    drawn = pairs(
        settings.n_means,
        split="discovery",
        n_boxes=settings.n_boxes,
        seed=settings.seed + 1,
        format=settings.format,
    )
    return means_over(model, encode(model.tokenizer, [pair.corrupt for pair in drawn]))


def means_over(model: Model, prompts: Prompts) -> Means:
    """Mean head outputs over `prompts`. Stored."""
    z = torch.from_numpy(_mean_z(model, prompts))
    return Means(z=z.to(model.device, model.dtype), n=len(prompts))


@stored("means")
def _mean_z(model: Model, prompts: Prompts) -> np.ndarray:
    return mean_z(model, prompts).z.float().cpu().numpy()


@dataclass(frozen=True)
class HeadAttention:
    """What one head of a circuit attends to.

    Attributes:
        group: name of the head's group.
        head: the head.
        role: the token at which it acts, and from which it looks.
        wanted: the token that its group should read.
        shares: mean attention to each of `attention_mass.KINDS`, over prompts.
    """

    group: str
    head: Head
    role: str
    wanted: str
    shares: Mapping[str, Estimate]

    @property
    def name(self) -> str:
        """The head with its group's letter, such as "B 19.1"."""
        return f"{GROUPS[self.group].letter} {self.head}"

    def to(self, kind: str) -> Estimate:
        """Mean attention to one kind of token; the head's own token is the kind "itself"."""
        return self.shares["itself" if kind == self.role else kind]


def attention_of_strongest(
    model: Model, prompts: Prompts, *, found: FoundCircuit
) -> tuple[HeadAttention, ...]:
    """Attention of the two strongest kept heads of each group, from the token where the group acts.

    A group from which pruning left nothing has no row. Cost: one forward pass per prompt and token
    role; stored.
    """
    circuit, looks = found.circuit, []
    for name in GROUPS:
        role = circuit.role(name)
        for head in found.kept(name)[:2]:
            shares = attention_mass(model, prompts, role=role).of([head])
            wanted = reads_from(name, circuit.structure_role)
            looks.append(HeadAttention(name, head, role, wanted, shares))
    return tuple(looks)

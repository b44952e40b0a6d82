"""The whole search for one model's circuit, as every chapter uses it: discover, choose the size,
prune.

Each step works on scenes of its own split: discovery, then pruning; evaluation is left for the
chapters."""

from dataclasses import dataclass

import numpy as np
import torch

from entrack.circuit.discovery import Discovery, DiscoveryConfig, discover
from entrack.circuit.faithfulness import SizeCurve, choose_size
from entrack.circuit.minimality import Minimality, MinimalityConfig, measure_minimality
from entrack.circuits import Circuit
from entrack.model.activations import Means, mean_z
from entrack.model.decoder import Model
from entrack.store.results import stored
from entrack.task.boxes import examples, pairs
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
        n_choose: prompts on which the size is chosen.
        n_prune: prompts on which minimality is judged (the paper: 100).
        discovery: how receivers are chosen, and where structure readers are looked for.
        minimality: what is kept.
    """

    format: str = "alternative"
    n_boxes: int = 7
    seed: int = 0
    n_pairs: int = 21
    n_means: int = 112
    n_choose: int = 140
    n_prune: int = 84
    discovery: DiscoveryConfig = DiscoveryConfig()
    minimality: MinimalityConfig = MinimalityConfig()


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


def find_circuit(model: Model, settings: CircuitSettings = CircuitSettings()) -> FoundCircuit:
    """Discover, size and prune the circuit of `model`; every step is stored, so an interrupted
    search goes on.

    Raises SiteError when a group comes out empty.
    """
    options = {"n_boxes": settings.n_boxes, "seed": settings.seed, "format": settings.format}
    clean, corrupt = encode_pairs(
        model.tokenizer, pairs(settings.n_pairs, split="discovery", **options)
    )
    discovery = discover(model, clean, corrupt=corrupt, config=settings.discovery)
    means = ablation_means(model, settings)
    held_out = encode(model.tokenizer, examples(settings.n_choose, split="pruning", **options))
    curve = choose_size(model, held_out, discovery=discovery, means=means, shares=SHARES)
    few = held_out.subset(range(min(settings.n_prune, len(held_out))))
    minimality = measure_minimality(
        model, few, circuit=curve.circuit, means=means, config=settings.minimality
    )
    return FoundCircuit(
        discovery=discovery, curve=curve, minimality=minimality, circuit=minimality.pruned()
    )


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
    prompts: Prompts = encode(model.tokenizer, [pair.corrupt for pair in drawn])
    z = torch.from_numpy(_mean_z(model, prompts))
    return Means(z=z.to(model.device, model.dtype), n=len(prompts))


@stored("means")
def _mean_z(model: Model, prompts: Prompts) -> np.ndarray:
    return mean_z(model, prompts).z.float().cpu().numpy()

"""Patch the residual stream layer by layer: what is carried at which token, and from which layer
on.

The coarsest of the patching experiments, and the first to make: the whole residual stream that
enters a layer at one token of the base is replaced by the source's at the same role, and everything
after it is recomputed. If the answer then is the one that a desideratum expects, what the
desideratum is about (the object, the position, the label) was in that token when the layer began.
Heads come later; this says where to look for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entrack.errors import SiteError
from entrack.model.decoder import Model
from entrack.patching.group_patching import CHUNK, Prepared, answers_with
from entrack.patching.patches import Patch
from entrack.stats.metrics import Difference, Estimate, difference, rate
from entrack.store.results import stored
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.desiderata import Counterfactual
from entrack.task.prompts import chunks


@dataclass(frozen=True)
class ResidualPatching:
    """What patching the residual stream at one role did, per starting layer.

    Attributes:
        desideratum: name of the desideratum that the base and source prompts were built by.
        role: the token role that was patched, in the base and in the source.
        layers: the patched layers, ascending: the stream *entering* layer l was replaced;
            `n_layers` stands for what leaves the last layer.
        hits: whether the most likely token is the expected answer [layer example].
        unchanged: whether it still is the base's own right answer [layer example].
        floor: whether it is the expected answer without any patch [example]: what a patch must
            beat.
        base_right, source_right: whether the unpatched base and source are answered rightly
            [example].
        model: name of the model.
    """

    desideratum: str
    role: str
    layers: tuple[int, ...]
    hits: np.ndarray
    unchanged: np.ndarray
    floor: np.ndarray
    base_right: np.ndarray
    source_right: np.ndarray
    model: str

    def scores(self) -> list[Estimate]:
        """Share of prompts with the expected answer, per layer, with Wilson's interval."""
        return [rate(row) for row in self.hits]

    @property
    def peak(self) -> int:
        """The layer with the greatest share of expected answers; the first of several."""
        return self.layers[int(self.hits.mean(1).argmax())]

    @property
    def best(self) -> Estimate:
        """The share of expected answers at `peak`."""
        return rate(self.hits[self.layers.index(self.peak)])

    @property
    def over_floor(self) -> Difference:
        """The share of expected answers at `peak` minus the floor, on the same prompts."""
        return difference(self.hits[self.layers.index(self.peak)], self.floor)

    @property
    def over_source(self) -> Difference:
        """The share of expected answers at `peak` minus that of right answers to the source."""
        return difference(self.hits[self.layers.index(self.peak)], self.source_right)

    @property
    def steepest(self) -> int:
        """The layer across which the share rises most: what it adds to the token matters most.

        With all layers patched this is one layer; with some left out, the first of the layers
        between which the rise happens."""
        return self.layers[int(np.diff(self.hits.mean(1)).argmax())]

    def layers_carrying(self) -> tuple[int, int] | None:
        """First and last of the layers around `peak` that all reach half the way from the floor to
        the best.

        None when the best layer is not above the floor: exact sign test of the prompts that the
        patch changed, at 5 % divided by the number of layers, for the best of many layers is above
        a floor by chance."""
        above = self.over_floor
        if above.value <= 0 or above.p_value > 0.05 / len(self.layers):
            return None
        scores = self.hits.mean(1)
        enough = scores >= (self.floor.mean() + self.best.value) / 2
        peak = self.layers.index(self.peak)
        first = peak - int(np.argmin(np.append(enough[peak::-1], False))) + 1
        last = peak + int(np.argmin(np.append(enough[peak:], False))) - 1
        return self.layers[first], self.layers[last]


def patch_residual(
    model: Model,
    counterfactuals: Sequence[Counterfactual],
    *,
    roles: Sequence[str],
    layers: Sequence[int] | None = None,
) -> dict[str, ResidualPatching]:
    """Replace the residual stream at each of `roles` by the source's, at every layer in turn (an
    interchange). Stored.

    Args:
        counterfactuals: of one desideratum, as `desiderata.build` makes them.
        roles: "last", "query_label", "prev_query_label" or "correct_object", found in base and
            source apart.
        layers: starting layers, 0 to n_layers; default all of them.

    Returns:
        role -> what patching there did.

    Raises:
        SiteError: a layer that the model does not have.
        AlignmentError, TaskError: as `prompts.encode_counterfactuals` does, and for an unknown
            role.

    Cost: two forward passes per counterfactual, and per role and starting layer the tokens from the
    role to the last one through the layers above: one more pass for "last" and "query_label"
    together, some ten for "correct_object"."""
    chosen = tuple(sorted(set(range(model.n_layers + 1) if layers is None else layers)))
    for layer in chosen:
        if not 0 <= layer <= model.n_layers:
            raise SiteError(
                f"no layer {layer} to patch; this model has layers 0 to {model.n_layers - 1}, and "
                f"{model.n_layers} stands for what leaves the last one. Use one of those."
            )
    return _patch(model, counterfactuals, tuple(roles), chosen)


@stored("residual-patching")
@torch.no_grad()
def _patch(
    model: Model,
    counterfactuals: Sequence[Counterfactual],
    roles: tuple[str, ...],
    layers: tuple[int, ...],
) -> dict[str, ResidualPatching]:
    data = encode_counterfactuals(model.tokenizer, counterfactuals)
    patches = [Patch(role, resid=layer) for role in roles for layer in layers]
    patched, own, source = [], [], []
    for part in chunks(range(len(data)), CHUNK):
        prepared = Prepared(model, data.subset(part))
        found = answers_with(prepared, patches=[Patch("last"), *patches])
        own.append(found[0])
        patched.append(found[1:])
        source.append(prepared.source_answers)
    top = torch.cat(patched, dim=1).unflatten(0, (len(roles), len(layers)))
    own, source = torch.cat(own), torch.cat(source)
    return {
        role: ResidualPatching(
            desideratum=counterfactuals[0].desideratum,
            role=role,
            layers=layers,
            hits=(answers == data.answers).numpy(),
            unchanged=(answers == data.base.answers).numpy(),
            floor=(own == data.answers).numpy(),
            base_right=(own == data.base.answers).numpy(),
            source_right=(source == data.source.answers).numpy(),
            model=model.name,
        )
        for role, answers in zip(roles, top, strict=True)
    }

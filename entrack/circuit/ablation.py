"""Accuracy with heads mean-ablated: of a circuit alone, of a circuit less some heads, of a model
less some heads.

Ablating a head at a position replaces its output by its mean at that position over other prompts.
In a circuit alone, every head at every position is ablated except the circuit's heads at their
roles (paper, section 4.2). So everything but the three role positions is a constant of the example:
it is computed once, and each circuit costs three tokens."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entrack.circuits import Circuit
from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.activations import CHUNK, Means, Run, clean_run
from entrack.model.answers import Outcome, joined
from entrack.model.decoder import Model
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.lent_attention import AttentionInputs
from entrack.model.replay import Replay, rerun
from entrack.sites import Head, check_heads
from entrack.task.prompts import Prompts, chunks


@dataclass(frozen=True)
class AblationScores:
    """Answers of several ablated versions of a model on the same prompts.

    Attributes:
        hits: whether the most likely token is the right object [variant example].
        log_prob: natural log of the right object's probability [variant example].
    """

    hits: np.ndarray
    log_prob: np.ndarray


def score_circuits(
    model: Model, prompts: Prompts, *, circuits: Sequence[Circuit], means: Means
) -> AblationScores:
    """Each circuit alone: every other head is mean-ablated at every position.

    Cost: one pass without attention per prompt, and three tokens per circuit and prompt.
    Raises SiteError for a head that the model does not have, AlignmentError when `means` has
    another length."""
    roles = _roles(circuits)
    keep = torch.stack([_kept(model, c, roles) for c in circuits]).to(model.device)
    found = []
    for part in _chunks(prompts):
        run = ablated_run(model, part, means)
        found.append(
            Replay(
                model,
                run,
                positions=_positions(run, roles),
                start=0,
                variants=len(circuits),
                edits=_ablations(run, means, roles, keep=keep, start=0),
            ).outcomes()
        )
    return _scores(found)


def score_without_heads(
    model: Model,
    prompts: Prompts,
    *,
    circuit: Circuit,
    removed: Mapping[str, Sequence[Collection[Head]]],
    means: Means,
) -> dict[str, AblationScores]:
    """The circuit less each set of heads of one group: group -> answers, for the groups and sets of
    `removed`.

    Cost: one pass without attention per prompt for all of them, and for each set the positions from
    the group's role on, from its lowest head's layer on."""
    roles = _roles([circuit])
    whole = _kept(model, circuit, roles)[None].to(model.device)
    found: dict[str, list[Outcome]] = {group: [] for group in removed}
    for part in _chunks(prompts):
        run = ablated_run(model, part, means)
        run = rerun(
            model,
            run,
            positions=_positions(run, roles),
            edits=_ablations(run, means, roles, keep=whole, start=0),
        )
        for group, sets in removed.items():
            found[group].append(_without(model, run, circuit, group, sets, means))
    return {group: _scores(parts) for group, parts in found.items()}


def _without(
    model: Model,
    run: Run,
    circuit: Circuit,
    group: str,
    removed: Sequence[Collection[Head]],
    means: Means,
) -> Outcome:
    """Answers of the circuit, whose own run is `run`, less each set. Sets with one lowest layer are
    replayed together.
    """
    roles = _roles([circuit])
    later = roles[roles.index(circuit.role(group)) :]
    starts = np.array(
        [min((h.layer for h in heads), default=model.n_layers - 1) for heads in removed]
    )
    order, found = [], []
    for start in np.unique(starts).tolist():
        sets = np.flatnonzero(starts == start).tolist()
        keep = torch.stack(
            [_kept(model, circuit.without(group, list(removed[i])), later) for i in sets]
        ).to(model.device)
        order += sets
        found.append(
            Replay(
                model,
                run,
                positions=_positions(run, later),
                start=start,
                variants=len(sets),
                edits=_ablations(run, means, later, keep=keep, start=start),
            ).outcomes()
        )
    return joined(found, dim=1).of_variants(np.argsort(order).tolist())


def score_removed(
    model: Model, prompts: Prompts, *, removed: Sequence[Circuit], means: Means
) -> AblationScores:
    """The whole model less the heads of each of `removed`, mean-ablated at their roles only: F(M
    without K).
    """
    roles = _roles(removed)
    keep = ~torch.stack([_kept(model, c, roles) for c in removed]).to(model.device)
    hits, log_prob = (
        np.empty((len(removed), len(prompts)), dtype=kind) for kind in (bool, np.float32)
    )
    for group in by_suffix(prompts, roles[0]):
        for chosen in chunks(group, CHUNK):
            run = clean_run(model, prompts.subset(chosen))
            positions = suffix(run, roles[0])
            # The role positions are among the recomputed ones; the edits name them by their place
            # there.
            places = [int((run.prompts.at(role) - positions[:, 0])[0]) for role in roles]
            edits = [
                Edit(e.kind, e.layer, places[e.slot], e.value, e.mask)
                for e in _ablations(run, means, roles, keep=keep, start=0)
            ]
            found = Replay(
                model, run, positions=positions, edits=edits, variants=len(removed), start=0
            ).outcomes()
            hits[:, chosen], log_prob[:, chosen] = found.hit.T.cpu(), found.log_prob.T.cpu()
    return AblationScores(hits=hits, log_prob=log_prob)


@torch.no_grad()
def ablated_run(model: Model, prompts: Prompts, means: Means) -> Run:
    """A run in which every head at every position gives its mean; MLPs and embeddings are intact.

    No attention is computed. Raises AlignmentError when the prompts have another length than
    `means`."""
    n_pos = means.z.shape[1]
    if prompts.lengths.tolist() != [n_pos] * len(prompts):
        raise AlignmentError(
            f"means over prompts of {n_pos} tokens for prompts of"
            f" {sorted(set(prompts.lengths.tolist()))}; both need one length. Make the means from"
            " prompts of the same format and number of boxes."
        )
    tokens = prompts.tokens.to(model.device)
    places = torch.arange(n_pos, device=model.device)[None]
    h = model.layers.embed(tokens, places.expand_as(tokens))
    places = model.layers.places(places, length=n_pos)
    resid, keys, values = [h], [], []
    for layer in range(model.n_layers):

        def attend(inputs: AttentionInputs, layer: int = layer) -> Tensor:
            keys.append(inputs.k)
            values.append(inputs.v)
            return means.z[layer].expand(len(prompts), -1, -1, -1)

        h = model.layers.forward(layer, h, places, attend)
        resid.append(h)
    z = means.z[:, None].expand(-1, len(prompts), -1, -1, -1)
    return Run(
        prompts=prompts,
        resid=torch.stack(resid),
        keys=torch.stack(keys),
        values=torch.stack(values),
        z=z,
    )


def _roles(circuits: Sequence[Circuit]) -> tuple[str, ...]:
    """The three roles at which these circuits act, in the order of the text."""
    where = {c.structure_role for c in circuits}
    if len(where) != 1:
        raise ConfigError(
            f"circuits whose structure readers act at {' and '.join(sorted(where)) or 'no role'}; "
            "one call takes circuits of one kind. Score them apart."
        )
    return (*where, "query_label", "last")


def _positions(run: Run, roles: Sequence[str]) -> Tensor:
    return torch.stack([run.prompts.at(role) for role in roles], dim=1)


def _kept(model: Model, circuit: Circuit, roles: Sequence[str]) -> Tensor:
    """Which heads a circuit keeps at each role [layer slot head]."""
    keep = torch.zeros(model.n_layers, len(roles), model.n_heads, dtype=torch.bool)
    for slot, role in enumerate(roles):
        heads = sorted(circuit.at(role))
        try:
            check_heads(heads, model.n_layers, model.n_heads)
        except SiteError as error:
            raise SiteError(
                f"the circuit of {circuit.model} does not fit {model.name}: {error}"
            ) from error
        for head in heads:
            keep[head.layer, slot, head.head] = True
    return keep


def _ablations(
    run: Run, means: Means, roles: Sequence[str], *, keep: Tensor, start: int
) -> list[Edit]:
    """Edits that give every head its mean at each role except where `keep` [variant layer slot
    head].
    """
    positions = _positions(run, roles)
    edits = []
    for layer in range(start, means.z.shape[0]):
        for slot in range(len(roles)):
            mask = ~keep[:, layer, slot]
            if bool(mask.any()):
                value = means.z[layer][positions[:, slot]]
                edits.append(Edit("z", layer, slot, value[:, None], mask[None]))
    return edits


def _chunks(prompts: Prompts) -> Iterator[Prompts]:
    return (prompts.subset(part) for part in chunks(range(len(prompts)), CHUNK))


def _scores(parts: Sequence[Outcome]) -> AblationScores:
    found = joined(parts, dim=0)
    return AblationScores(hits=found.hit.T.cpu().numpy(), log_prob=found.log_prob.T.cpu().numpy())

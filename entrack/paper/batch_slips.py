"""Two slips that read one prompt at the place of another: DCM's validation, and input patching
between models.

Both touch group D alone. Its token, an earlier mention of the queried label, stands elsewhere in
every prompt, while those of A, B and C are counted from the end of the prompt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from entrack.circuits import Circuit
from entrack.errors import ConfigError
from entrack.model.activations import project
from entrack.model.decoder import Model, check_pair
from entrack.model.edits import Edit
from entrack.model.replay import Replay
from entrack.model.shared_runs import run_shared
from entrack.paper.slip import Slip, paired
from entrack.paper.slips import heads_selected
from entrack.patching.dcm import targets
from entrack.patching.group_patching import Prepared, answers_with, selection
from entrack.patching.masks import Masks
from entrack.patching.patches import Patch
from entrack.sites import Head, check_heads
from entrack.store.results import stored
from entrack.task.counterfactual_prompts import CounterfactualPrompts
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import Prompts, chunks, encode


def read_elsewhere(
    data: CounterfactualPrompts, places: CounterfactualPrompts, *, role: str, seed: int = 0
) -> CounterfactualPrompts:
    """`data` with `role` where pairs of `places`, drawn at random, have it: base at base's place,
    source at source's.

    Tokens and answers stay. Pairs are drawn without replacement, or in rounds where `data` has more
    of them.

    Raises ConfigError when a place would lie behind the end of a prompt.
    """
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-len(data) // len(places))
    drawn = torch.cat([torch.randperm(len(places), generator=generator) for _ in range(rounds)])[
        : len(data)
    ]

    def moved(prompts: Prompts, others: Prompts) -> Prompts:
        at = others.at(role)[drawn]
        if bool((at >= prompts.lengths).any()):
            raise ConfigError(
                f"{role} at token {int(at.max())} of a prompt of {int(prompts.lengths.min())}"
                " tokens; places of other prompts must lie inside. Draw both sets with the same"
                " number of boxes and format."
            )
        return replace(prompts, roles={**prompts.roles, role: at})

    return replace(
        data, base=moved(data.base, places.base), source=moved(data.source, places.source)
    )


def same_places(data: CounterfactualPrompts, elsewhere: CounterfactualPrompts, *, role: str) -> int:
    """How many pairs have `role` at the same places, in base and source, in both."""
    sides = ((data.base, elsewhere.base), (data.source, elsewhere.source))
    same = [own.at(role) == others.at(role) for own, others in sides]
    return int((same[0] & same[1]).sum())


def dcm_validation_batch(
    masks: Masks, train: Prepared, *, validation: Prepared, role: str, seed: int = 0
) -> list[Slip]:
    """DCM of group D validated at the pairs' own places (off), or at those of training pairs (on).

    The released code hands the training batch of the moment to validation, for the places only:
    outputs, prompts and answers are those of the validation pairs.

    Args:
        masks: learned on these pairs, for the heads that act at `role`.
        train, validation: as `dcm.learn_masks` took them.

    Returns:
        The share of validation pairs that still get the base's own answer with all heads of the
        group patched: low when patching has an effect. And the share of the heads in the mask that
        validates best, the fewest where masks tie, as they should be.

    Raises ConfigError as `read_elsewhere` does, and for a target that the pairs do not have.
    Stored.
    Cost: runs of the validation pairs, and a patched run for each of them and each mask noted while
    learning."""
    targets(validation, masks.target)
    elsewhere = read_elsewhere(validation.data, train.data, role=role, seed=seed)
    group = Patch(role, masks.heads)
    noted = [
        Patch(role, tuple(h for h, patched in zip(masks.heads, mask, strict=True) if patched))
        for path in masks.paths
        for mask in path.noted
    ]
    own, others = _validated(validation, replace(validation, data=elsewhere), group, noted)
    candidates, clusters = validation.candidates, validation.data.base.scenes
    unchanged = (answers[0] == candidates["unchanged"].numpy() for answers in (own, others))
    scores = (others[1:] == targets(validation, masks.target).numpy()).mean(1)
    ends = np.cumsum([len(path.noted) for path in masks.paths])
    rescored = replace(
        masks,
        paths=tuple(
            replace(path, validation=part)
            for path, part in zip(masks.paths, np.split(scores, ends[:-1]), strict=True)
        ),
    )
    return [
        paired(
            "dcm_validation_batch",
            "D validated at other prompts' places: answers unchanged",
            *unchanged,
            clusters=clusters,
        ),
        Slip(
            "dcm_validation_batch",
            "D validated at other prompts' places: heads selected",
            *(heads_selected(m, prefer="fewer") for m in (masks, rescored)),
        ),
    ]


@stored("slip-dcm-validation")
def _validated(
    own: Prepared, elsewhere: Prepared, group: Patch, noted: Sequence[Patch]
) -> tuple[np.ndarray, np.ndarray]:
    """Answers at their own places with the group patched, and elsewhere with it and each noted
    mask [patch example].
    """
    return (
        answers_with(own, patches=[group]).numpy(),
        answers_with(elsewhere, patches=[group, *noted]).numpy(),
    )


def cmap_in_batch(
    donor: Model, receiver: Model, *, circuit: Circuit, n_scenes: int, seed: int = 0
) -> Slip:
    """Accuracy of the receiver with the donor's q in group D, at each prompt's own place (off) or
    at all of the batch (on).

    A batch holds the questions about one scene, as the paper's file has them in a row: together
    they name every box. Stored.
    Cost: runs of both models; and for each prompt, nearly all tokens through the layers from D's
    lowest head on, twice."""
    prompts = encode(
        receiver.tokenizer, all_queries(scenes(n_scenes, split="evaluation", seed=seed))
    )
    role, heads = circuit.role("structure_reader"), circuit.groups["structure_reader"]
    hits, _ = q_handed_over(
        donor, receiver, prompts, heads=heads, role=role, batch=len(prompts) // n_scenes
    )
    title = "D's q handed over at every place of the batch: accuracy"
    return paired("cmap_in_batch", title, *hits, clusters=prompts.scenes)


def q_handed_over(
    donor: Model, receiver: Model, prompts: Prompts, *, heads: Sequence[Head], role: str, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hits and log probabilities (natural) of the right answers [2 example], with the donor's q in
    `heads`. Stored.

    The first row patches each prompt at its own place of `role` (as `cmap.cross_patch` does), the
    second at the places of
    all prompts of its batch: the released code loops over the prompts of a batch, but writes into
        all of them each time.

    Args:
        batch: prompts in a row that are run together; all of one length.

    Raises:
        ModelError: models of different shape. SiteError: a head that they do not have.
        ConfigError: prompts of different length.
    """
    check_pair(donor, receiver)
    heads = check_heads(heads, receiver.n_layers, receiver.n_heads)
    if len(lengths := prompts.lengths.unique().tolist()) > 1:
        raise ConfigError(
            f"prompts of {lengths} tokens; places are shared within a batch, so all must have one"
            " length. Use one format and number of boxes."
        )
    return _q_handed_over(donor, receiver, prompts, heads, role, batch)


@stored("slip-cmap-in")
@torch.no_grad()
def _q_handed_over(
    donor: Model, receiver: Model, prompts: Prompts, heads: Sequence[Head], role: str, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    chosen = selection(receiver, heads).to(receiver.device)
    found = []
    for indices in chunks(range(len(prompts)), batch):
        part = prompts.subset(indices)
        own, given = run_shared(receiver, part), run_shared(donor, part)
        places = part.at(role).unique().tolist()
        positions = torch.arange(places[0], int(part.at("last")[0]) + 1).expand(len(part), -1)
        edits = []
        for place in places:
            patched = torch.stack(
                [part.at(role) == place, torch.ones(len(part), dtype=torch.bool)], dim=1
            ).to(receiver.device)  # [example variant]
            for layer in sorted({h.layer for h in heads}):
                entering = given.resid[layer][:, place : place + 1]
                at = torch.full((len(part), 1), place)
                q = project(donor, entering, at, length=given.length, kind="q", layer=layer)
                edits.append(
                    Edit(
                        "q",
                        layer,
                        place - places[0],
                        q,
                        patched[..., None] & chosen[layer],
                    )
                )
        found.append(Replay(receiver, own, positions=positions, edits=edits, variants=2).outcomes())
    return tuple(
        torch.cat([getattr(o, name) for o in found]).T.cpu().float().numpy()
        for name in ("hit", "log_prob")
    )

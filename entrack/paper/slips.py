"""What the slips of the released code change in discovery, desiderata, DCM's choice of a mask, and
adapters, each switched on and off on the same model and, where it can be, the same runs.

The paper's own files cannot be rerun here, so these are the same slips made on purpose in our code
(`as_published`), one at a time. They say what a slip does to this family. What it did to a
published number is known only where that number says so."""

from dataclasses import replace

import numpy as np

from entrack.circuit.discovery import stage_scores
from entrack.circuit.search import FoundCircuit
from entrack.circuits import Circuit
from entrack.cross_model.weight_swap import graft
from entrack.errors import ConfigError
from entrack.model.decoder import Model
from entrack.paper.slip import Slip, paired
from entrack.patching.accuracy import score_task
from entrack.patching.group_patching import patch_pairs
from entrack.patching.masks import Masks
from entrack.patching.patches import Patch, Patched
from entrack.patching.path_patching import PathConfig
from entrack.sites import GROUPS, all_heads
from entrack.stats.metrics import Estimate, exact
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals
from entrack.task.desiderata import build
from entrack.task.draws import scenes
from entrack.task.prompts import Prompts

N_TOP = 3


def random_corrupt_position(
    model: Model,
    clean: Prompts,
    corrupt: Prompts,
    *,
    found: FoundCircuit,
    path: PathConfig,
    seed: int = 0,
) -> Slip:
    """Stage D with the corrupt z of the queried label (off, from the search itself) or of a random
    label (on). Stored.

    Args:
        clean, corrupt: the first pairs of the search.
        path: how the search patched.

    The quantity is the loss when one of the N_TOP strongest structure readers is patched, averaged,
    in the unit of the search's scores. Raises ConfigError if `path` scores in another.
    Cost: stage D of path patching on these pairs.
    """
    name = "structure_reader"
    off, receivers, role = (
        found.discovery.scores[name],
        found.discovery.receivers[name],
        found.discovery.structure_role,
    )
    config = replace(path, as_published=True, seed=seed)
    on = stage_scores(
        model,
        clean,
        corrupt=corrupt,
        role=role,
        receivers=receivers,
        via=GROUPS[name].composition,
        config=config,
    )
    if on.unit != off.unit:
        raise ConfigError(
            f"the search scored by {off.unit!r}, and path={path.score!r} scores by {on.unit!r};"
            " both sides of a slip have one unit. Pass the path configuration of the search."
        )
    top = off.ranked()[:N_TOP]
    losses = (
        -np.mean([s.values[h.layer, h.head, : len(clean)] for h in top], axis=0) for s in (off, on)
    )
    title = "stage D reads a random label: effect of its heads"
    return paired("struct_reader_random_corrupt", title, *losses, share=False)


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
    title = "label scored without its space: score"
    return _same_pairs("label_target", title, off, on, patch="label", candidate="label")


def _same_pairs(
    name: str, title: str, off: Patched, on: Patched, *, patch: str, candidate: str
) -> Slip:
    """A score of two patchings of the same base prompts, paired."""
    return paired(
        name,
        title,
        off.hits(patch, candidate),
        on.hits(patch, candidate),
        clusters=off.scenes,
        estimates=(off.score(patch, candidate), on.score(patch, candidate)),
    )


def base_position_zero(model: Model, *, circuit: Circuit, n: int, seed: int = 0) -> list[Slip]:
    """The position desideratum with sources that never share the base's position (off), and as
    released (on). The pairs differ, so nothing is paired.
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
    found = []
    for padded in (False, True):
        data = encode_counterfactuals(
            model.tokenizer, [replace(pair, padded_source=padded) for pair in drawn]
        )
        found.append(patch_pairs(model, data, patches=patches, expected_candidate="position"))
    title = "source read behind its end: score of B"
    return _same_pairs("padded_position", title, *found, patch="B", candidate="position")


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
    return _same_pairs(
        "struct_reader_source_position",
        "D's source read at the base's place: answers unchanged",
        *(patch_pairs(model, d, patches=patches) for d in (data, moved)),
        patch="D",
        candidate="unchanged",
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
    off, on = (score_task(model, asked) for model in (donor, dropped))
    return paired(
        "goat_o_proj_lora_dropped",
        f"o_proj update of {donor.version} dropped: accuracy",
        off.hits.ravel(),
        on.hits.ravel(),
        clusters=off.clusters,
    )


def heads_selected(masks: Masks, *, prefer: str) -> Estimate:
    """Share of a group's heads in the masks that validate best, those with "fewer" or with "more"
    heads where masks tie.
    """
    chosen = replace(masks, config=replace(masks.config, prefer=prefer, slack=0.0))
    selected = np.mean([len(chosen.selected(s)) for s in range(len(masks.paths))])
    return exact(selected / len(masks.heads), n=len(masks.heads))


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

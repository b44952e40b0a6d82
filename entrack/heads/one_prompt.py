"""One prompt, before and after: each method of the book done once, and how likely words are then.

The measurements keep one number per prompt, such as whether the answer is right. Here the method is
done to a single prompt, and the probability of each word that may answer it is read. Ours; the
paper shows no single prompt. An example is never evidence: a chapter's numbers come from many
prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrack.circuit.ablation import score_circuits
from entrack.circuits import Circuit
from entrack.errors import ConfigError
from entrack.model.activations import Means, Run, clean_run, project
from entrack.model.answers import answers_of
from entrack.model.attention import patterns
from entrack.model.decoder import Model, check_pair
from entrack.model.edits import Edit, suffix
from entrack.model.replay import Replay
from entrack.patching.attention_knockout import blocked_resid
from entrack.patching.group_patching import selection
from entrack.patching.patches import Patch
from entrack.sites import GROUPS, Head, check_heads
from entrack.task.counterfactual_prompts import CounterfactualPrompts
from entrack.task.prompts import Prompts


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt, and the words of which we ask how likely they are as its answer.

    Attributes:
        prompt: the prompt alone.
        words: how a word is told -> its token; the right one first.
    """

    prompt: Prompts
    words: Mapping[str, int]

    def best(self, probs: np.ndarray) -> str:
        """The likeliest of the words, given the probability of each [word]."""
        return list(self.words)[int(np.argmax(probs))]


def ask(prompts: Prompts, index: int = 0, *, words: Mapping[str, int] | None = None) -> Asked:
    """Prompt `index` and the words to ask for.

    Args:
        words: how a word is told -> its token; default the objects of the scene, the right one
            first and the others in the order of the text.

    Raises ConfigError for no words, or for a prompt that is not there.
    """
    if not 0 <= index < len(prompts):
        raise ConfigError(
            f"prompt {index}; there are {len(prompts)}, counted from 0. Use a smaller number."
        )
    words = _objects(prompts, index) if words is None else words
    if not words:
        raise ConfigError("no words to ask for; at least one is needed. Leave `words` out.")
    return Asked(prompts.subset([index]), dict(words))


def candidates(
    data: CounterfactualPrompts, index: int = 0, *, expected: str = "label"
) -> dict[str, int]:
    """What each idea of what is carried predicts for pair `index`: "name of the idea: word" ->
    token, the base's own answer ("unchanged") first where it is among them; then the base's other
    objects: word -> token.

    Args:
        expected: the idea that `data.answers` stands for: "label" for interchanges.
    """
    found = {expected: data.answers, **data.alternatives}
    words = {
        int(token): piece.strip()
        for prompts in (data.source, data.base)
        for token, piece in zip(prompts.tokens[index], prompts.pieces[index], strict=False)
    }
    tokens = {name: int(found[name][index]) for name in found}
    order = sorted(tokens, key=lambda name: name != "unchanged")
    told = {f"{name}: {words.get(tokens[name], '?')}": tokens[name] for name in order}
    objects = _objects(data.base, index).items()
    return told | {word: token for word, token in objects if token not in told.values()}


def first_repaired(receiver: Model, donor: Model, prompts: Prompts) -> int:
    """The first prompt that `donor` answers right and `receiver` wrong; 0 where there is none.

    Cost: one forward pass per prompt and model.
    """
    wrong, right = (answers_of(model, prompts).hit[:, 0].cpu() for model in (receiver, donor))
    return int((right & ~wrong).int().argmax())


@torch.no_grad()
def alone(model: Model, asked: Asked) -> np.ndarray:
    """Probability of each word with nothing changed [word]."""
    return _probs(model, asked, clean_run(model, asked.prompt).resid_at("last")[-1])


@torch.no_grad()
def path_patched(
    model: Model,
    asked: Asked,
    corrupt: Prompts,
    *,
    role: str,
    sender: Head,
    receivers: Sequence[Head] = (),
    via: str = "logits",
) -> np.ndarray:
    """Probability of each word with the sender's output taken from the corrupt prompt, all other
    heads frozen at the clean run, and the change let through to the answer, or to one input of the
    receivers [word]. One sender of `path_patching`.

    Args:
        corrupt: the first of these, as long as the prompt that is asked.
        role: where the sender acts and the receivers are read.
        receivers, via: as `path_patching` takes them.

    Raises SiteError for a head that the model does not have; ConfigError for a sender with no
    receiver above it, whose change has no way to go.
    """
    receivers = check_heads(receivers, model.n_layers, model.n_heads)
    check_heads([sender], model.n_layers, model.n_heads)
    above = sorted({receiver.layer for receiver in receivers if receiver.layer > sender.layer})
    if (via == "logits") == bool(receivers) or not above and via != "logits":
        raise ConfigError(
            f"sender {sender} with {len(receivers)} receivers, {len(above)} layers of them above"
            f" it, and via={via!r}; q, k or v need receivers above the sender, logits need none."
            " Choose others."
        )
    run = clean_run(model, asked.prompt)
    held = run.z_at(role).clone()
    theirs = clean_run(model, corrupt.subset([0])).z_at(role)
    held[sender.layer, :, sender.head] = theirs[sender.layer, :, sender.head]
    every = torch.ones(1, 1, model.n_heads, dtype=torch.bool, device=model.device)
    frozen = [
        Edit("z", layer, 0, held[layer][:, None], every)
        for layer in range(sender.layer, model.n_layers)
    ]
    entering: dict[int, Tensor] = {}
    at_role = run.prompts.at(role)[:, None]
    final = Replay(model, run, positions=at_role, edits=frozen).final(
        on_layer=lambda layer, resid, *_: entering.update({layer: resid})
    )
    if via == "logits":
        return _probs(model, asked, final[:, 0, -1])
    edits = [
        Edit(via, layer, 0, given[:, None, 0], selection(model, receivers)[None, None, layer])
        for layer in above
        for given in [
            project(model, entering[layer], at_role, length=run.length, kind=via, layer=layer)
        ]
    ]
    return _replayed(model, asked, run, role, edits)


def circuit_alone(model: Model, asked: Asked, *, circuit: Circuit, means: Means) -> np.ndarray:
    """Probability of each word from the circuit alone, every other head at its mean [word]."""
    each = replace(
        asked.prompt.subset([0] * len(asked.words)), answers=torch.tensor([*asked.words.values()])
    )
    scores = score_circuits(model, each, circuits=[circuit], means=means)
    return np.exp(scores.log_prob[0].astype(float))


@torch.no_grad()
def cut(model: Model, asked: Asked, *, edge: tuple[str, str], layer: int = 0) -> np.ndarray:
    """Probability of each word where the first token of `edge` cannot read the second in any layer
    from `layer` up [word]. Both are named by role. `layer` n_layers cuts nothing.
    """
    reader, goal = (asked.prompt.at(role) for role in edge)
    run = clean_run(model, asked.prompt)
    return _probs(model, asked, blocked_resid(model, run, reader=reader, goal=goal, layer=layer))


@torch.no_grad()
def patched(
    model: Model, asked: Asked, source: Prompts, patch: Patch, *, donor: Model | None = None
) -> np.ndarray:
    """Probability of each word with the patch's heads taken from the first of `source` [word].

    Args:
        source: what the donor reads; `asked.prompt` itself for a patch between models.
        patch: heads at a role; one without heads changes nothing.
        donor: the model that reads the source, if it is another.

    Raises ConfigError for a patch of the residual stream, ModelError for a donor of another shape.
    """
    if patch.resid is not None:
        raise ConfigError(
            "a patch of the residual stream; here heads are patched. Name heads in the patch."
        )
    if donor is not None:
        check_pair(donor, model)
    if not patch.heads:
        return alone(model, asked)
    z = clean_run(donor or model, source.subset([0])).z_at(patch.role)
    mask = selection(model, patch.heads).to(model.device)
    edits = [
        Edit("z", layer, 0, z[layer][:, None].to(model.device), mask[None, None, layer])
        for layer in sorted({head.layer for head in patch.heads})
    ]
    return _replayed(model, asked, clean_run(model, asked.prompt), patch.role, edits)


@dataclass(frozen=True, eq=False)
class Reading:
    """Where the groups of a circuit look in one prompt.

    Attributes:
        prompts: the prompt alone.
        looks: group -> attention from the token where it acts, mean over its heads, which sums to 1
            [pos]; no entry for a group without heads.
        acts: group -> that token's index.
    """

    prompts: Prompts
    looks: Mapping[str, np.ndarray]
    acts: Mapping[str, int]


def reading(model: Model, prompts: Prompts, *, circuit: Circuit) -> Reading:
    """Where the heads of each group of `circuit` look in the first of `prompts`, with
    nothing changed.

    Cost: a forward pass per group.
    """
    one = prompts.subset([0])
    kept = {name: circuit.groups[name] for name in GROUPS if circuit.groups[name]}
    looks = {
        name: patterns(model, one, heads, role=circuit.role(name)).weights[0].mean(0).numpy()
        for name, heads in kept.items()
    }
    return Reading(one, looks, {name: int(one.at(circuit.role(name))[0]) for name in kept})


def _objects(prompts: Prompts, index: int) -> dict[str, int]:
    """The objects of a scene, the right one first: word -> token as an answer."""
    places = prompts.segments["object"][index].tolist()
    right = int(prompts.at("correct_object")[index])
    pieces, tokens = prompts.pieces[index], prompts.tokens[index]
    others = {pieces[at].strip(): int(tokens[at]) for at in places if at != right}
    return {pieces[right].strip(): int(prompts.answers[index]), **others}


def _replayed(model: Model, asked: Asked, run: Run, role: str, edits: Sequence[Edit]) -> np.ndarray:
    """Probability of each word after edits at a role, everything after it computed anew [word]."""
    final = Replay(model, run, positions=suffix(run, role), edits=edits).final()
    return _probs(model, asked, final[:, 0, -1])


def _probs(model: Model, asked: Asked, resid: Tensor) -> np.ndarray:
    """Probability of each word from a final residual stream [1 d_model]."""
    probs = model.layers.logits(resid).float().softmax(-1)[0].double().cpu()
    return probs[list(asked.words.values())].numpy()

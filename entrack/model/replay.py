"""Run chosen positions again, with edits, on top of a clean run: the engine of every patching
experiment.

An edit at one position cannot change what came before it, and in many experiments everything except
a few positions is held fixed by definition. So only the positions that can change are recomputed,
from the lowest edited layer on, and they attend to the keys and values that the clean run left for
all others. Many variants (one per sender, per knocked-out set, per circuit) share one clean run:
they are one more batch axis, and the cached keys and values are never copied per variant.

This is exact, not an approximation: `tests/test_replay.py` compares it with edits by hooks in whole
passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from entrack.errors import AlignmentError, EntrackError, SiteError
from entrack.model.activations import Run
from entrack.model.decoder import Model
from entrack.model.hooks import Trace
from entrack.task.prompts import Prompts

KINDS = ("q", "k", "v", "z")


@dataclass(frozen=True, eq=False)
class Edit:
    """Replace some heads' vectors of one layer at one replayed position.

    Attributes:
        kind: "z" head output before `o_proj`; "q", "k", "v" the projections before the rotary
            embedding. k and v are addressed per query head, also where several share a kv-head.
        layer: 0-based.
        slot: which of the replayed positions (column of `positions`).
        value: replacement [example variant head d_head]; the first two axes may be 1.
        mask: which heads, and how much: 1 replaced, 0 kept [example variant head]; the first two
            may be 1. Boolean, or float for a blend `(1 - mask) * own + mask * value` that gradients
            pass through.
    """

    kind: str
    layer: int
    slot: int
    value: Tensor
    mask: Tensor

    def of_variants(self, variants: slice) -> "Edit":
        """The same edit for some of the variants."""
        cut = {
            name: tensor if tensor.shape[1] == 1 else tensor[:, variants]
            for name, tensor in (("value", self.value), ("mask", self.mask))
        }
        return replace(self, **cut)

    def apply(self, vectors: Tensor) -> Tensor:
        """`vectors` [example variant slot head d_head] with this edit made."""
        own, mask = vectors[:, :, self.slot], self.mask[..., None]
        value = self.value.to(own.dtype)
        new = (
            torch.where(mask, value, own)
            if mask.dtype == torch.bool
            else torch.lerp(own, value, mask.to(own.dtype))
        )
        return torch.cat(
            [
                vectors[:, :, : self.slot],
                new.expand_as(own)[:, :, None],
                vectors[:, :, self.slot + 1 :],
            ],
            dim=2,
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the model answers at the last replayed position.

    Attributes:
        log_prob: natural log of the probability of the right answer [example variant].
        logit: its logit [example variant].
        top: the most likely token [example variant].
        hit: whether that is the right answer [example variant].
    """

    log_prob: Tensor
    logit: Tensor
    top: Tensor
    hit: Tensor

    @property
    def prob(self) -> Tensor:
        """Probability of the right answer [example variant]."""
        return self.log_prob.exp()

    def of_variants(self, order: Sequence[int]) -> "Outcome":
        """Some of the variants, in another order."""
        return Outcome(**{f.name: getattr(self, f.name)[:, order] for f in fields(self)})


def suffix(run: Run, role: str) -> Tensor:
    """All positions from `role` to the last one [example slot]; the first slot is the role's own.

    Raises AlignmentError when the examples' suffixes differ in length: group them by length first.
    """
    first, last = run.prompts.at(role), run.prompts.at("last")
    lengths = (last - first).unique()
    if len(lengths) != 1 or lengths[0] < 0:
        raise AlignmentError(
            f"the positions from {role!r} to the last one number {(lengths + 1).tolist()} in these"
            " prompts; one replay needs the same number in each. Group the prompts with by_suffix."
        )
    return first[:, None] + torch.arange(int(lengths[0]) + 1)


def by_suffix(prompts: Prompts, role: str) -> list[list[int]]:
    """Indices of the prompts, grouped by the distance from `role` to the last position,
    ascending.
    """
    distance = (prompts.at("last") - prompts.at(role)).tolist()
    return [[i for i, d in enumerate(distance) if d == length] for length in sorted(set(distance))]


def replay(
    model: Model,
    run: Run,
    *,
    positions: Tensor,
    edits: Sequence[Edit] = (),
    variants: int = 1,
    start: int | None = None,
    resid: Tensor | None = None,
    on_layer: Callable[[int, Tensor, Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Residual stream leaving the last layer at `positions` [example variant slot d_model].

    All other positions keep their clean keys and values, whatever the edits: give every later
    position to which a change shall spread.

    Args:
        positions: ascending positions of each example [example slot].
        start: layer to start at; default the lowest edited one, below which nothing changes.
        resid: residual stream entering `start` at `positions` [example variant slot d_model];
            default clean.
        on_layer: called with (layer, entering residual, rotated keys, values, z) of the replayed
            positions.

    Raises:
        SiteError: an edit names a layer, slot or kind that is not replayed.
        AlignmentError: positions that do not ascend, or lie beyond a prompt.

    Cost: `example * variant * slot` tokens through the layers from `start` on.
    """
    positions = positions.to(model.device)
    if start is None:
        start = min((e.layer for e in edits), default=0)
    _check(model, run, positions, edits, start)
    rows = torch.arange(len(positions), device=model.device)[:, None]
    if resid is None:
        resid = run.resid[start][rows, positions][:, None]
    h = resid.expand(-1, variants, -1, -1)
    cos, sin = model.hf.model.rotary_emb(h, positions)
    rotary = (cos[:, None, :, None], sin[:, None, :, None])
    old, own = _visible(run, positions)
    with torch.set_grad_enabled(
        torch.is_grad_enabled() and any(e.mask.requires_grad for e in edits)
    ):
        for layer in range(start, model.n_layers):
            here = [e for e in edits if e.layer == layer]
            entering = h
            z, k, v = _attend(
                model, run, h, layer=layer, edits=here, rotary=rotary, old=old, own=own
            )
            h = h + model.layers[layer].self_attn.o_proj(z.flatten(-2))
            h = h + model.layers[layer].mlp(model.layers[layer].post_attention_layernorm(h))
            if on_layer is not None:
                on_layer(layer, entering, k, v, z)
    return h


def rerun(model: Model, run: Run, *, positions: Tensor, edits: Sequence[Edit]) -> Run:
    """A new `Run` in which `positions` were recomputed with `edits`, to patch on top of.

    Edits must have one variant. Layers below the lowest edit are shared with `run`.
    """
    positions = positions.to(model.device)
    rows = torch.arange(len(positions), device=model.device)[:, None]
    new = {name: getattr(run, name).clone() for name in ("resid", "keys", "values", "z")}

    def store(layer: int, entering: Tensor, k: Tensor, v: Tensor, z: Tensor) -> None:
        new["resid"][layer][rows, positions] = entering[:, 0]
        # Per query head here, per kv-head in a Run: one of each group (edits of k and v are not for
        # rerun).
        for name, vectors in (("keys", k), ("values", v)):
            new[name][layer].transpose(1, 2)[rows, positions] = vectors[
                :, 0, :, :: model.group_size
            ]
        new["z"][layer][rows, positions] = z[:, 0]

    with torch.no_grad():
        leaving = replay(model, run, positions=positions, edits=edits, on_layer=store)
    new["resid"][model.n_layers][rows, positions] = leaving[:, 0]
    return Run(prompts=run.prompts, **new)


def read_out(model: Model, resid: Tensor, answers: Tensor) -> Outcome:
    """What a final residual stream [example variant d_model] answers.

    `answers` are the right tokens, one per example [example] or per variant [example variant].
    """
    shape, device = resid.shape[:-1], resid.device
    wanted = answers.to(device).reshape(len(answers), -1).expand(shape)
    rows, target = resid.flatten(0, -2), wanted.flatten()
    log_prob, logit, top = [], [], []
    step = max(1, 2**28 // (4 * model.hf.config.vocab_size))
    for lo in range(0, len(rows), step):
        logits = model.hf.lm_head(model.hf.model.norm(rows[lo : lo + step])).float()
        right = logits.gather(1, target[lo : lo + step, None])[:, 0]
        logit.append(right)
        log_prob.append(right - logits.logsumexp(-1))
        top.append(logits.argmax(-1))
    best = torch.cat(top).reshape(shape)
    return Outcome(
        log_prob=torch.cat(log_prob).reshape(shape),
        logit=torch.cat(logit).reshape(shape),
        top=best,
        hit=best == wanted,
    )


@torch.no_grad()
def answers_of(model: Model, prompts: Prompts, *, chunk: int = 50) -> Outcome:
    """What the unedited model answers, through Hugging Face's own forward [example 1]."""
    found = []
    for lo in range(0, len(prompts), chunk):
        part = prompts.subset(range(lo, min(lo + chunk, len(prompts))))
        # The final norm belongs to read_out, so the residual stream before it is what is kept.
        with Trace(model.hf, "model.norm", retain_input=True, retain_output=False) as trace:
            model.hf.model(part.tokens.to(model.device), use_cache=False)
        hidden = trace.input[torch.arange(len(part)), part.at("last")]
        found.append(read_out(model, hidden[:, None], part.answers))
    return joined(found, dim=0)


def joined(found: Sequence[Outcome], *, dim: int) -> Outcome:
    """Several outcomes as one, along the examples (0) or the variants (1)."""
    return Outcome(
        **{f.name: torch.cat([getattr(o, f.name) for o in found], dim=dim) for f in fields(Outcome)}
    )


def outcomes(
    model: Model,
    run: Run,
    *,
    positions: Tensor,
    edits: Sequence[Edit] = (),
    variants: int = 1,
    start: int | None = None,
    resid: Tensor | None = None,
    answers: Tensor | None = None,
    budget: int | None = None,
) -> Outcome:
    """The answers of every variant: `replay`, then `read_out` at the last slot.

    Args:
        answers: the right tokens, [example] or [example variant]; default the prompts' own.
        budget: bytes for intermediate tensors; default 256 MB on a CPU, a third of what is free on
            CUDA. Variants go through in chunks that fit; a chunk that does not fit after all is
            halved.

    Raises:
        EntrackError: too little memory for one variant.
    """
    answers = run.prompts.answers if answers is None else answers
    size = max(
        1, min(variants, _budget(model, budget) // _bytes_per_variant(model, run, positions))
    )
    found: list[Outcome] = []
    lo = 0
    while lo < variants:
        part = slice(lo, min(lo + size, variants))
        try:
            final = replay(
                model,
                run,
                positions=positions,
                edits=[e.of_variants(part) for e in edits],
                variants=part.stop - part.start,
                start=start,
                resid=resid if resid is None or resid.shape[1] == 1 else resid[:, part],
            )
            found.append(
                read_out(model, final[:, :, -1], answers if answers.ndim == 1 else answers[:, part])
            )
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise EntrackError(
                    f"one variant does not fit into the memory of {model.device}; fewer examples at"
                    " once do. Lower the number of prompts per chunk."
                ) from error
            size //= 2
            continue
        lo = part.stop
    return joined(found, dim=1)


def _attend(model, run, h, *, layer, edits, rotary, old, own) -> tuple[Tensor, Tensor, Tensor]:
    """Head outputs, rotated keys and values of the replayed positions, each [example variant slot
    head d_head].
    """
    attention, group = model.layers[layer].self_attn, model.group_size
    x = model.layers[layer].input_layernorm(h)
    q, k, v = (
        getattr(attention, f"{kind}_proj")(x).unflatten(-1, (-1, model.d_head)) for kind in "qkv"
    )
    k, v = k.repeat_interleave(group, dim=-2), v.repeat_interleave(group, dim=-2)
    q, k, v = (_edited(vectors, edits, kind) for vectors, kind in ((q, "q"), (k, "k"), (v, "v")))
    q, k = _rotate(q, *rotary), _rotate(k, *rotary)

    examples, variants, slots = q.shape[:3]
    # Cached keys are per kv-head: all variants, slots and query heads of a group are rows of one
    # product.
    packed = (
        q.unflatten(3, (-1, group)).permute(0, 3, 1, 2, 4, 5).flatten(2, 4)
    )  # [example kv_head variant*slot*group d_head]
    to_old = packed @ run.keys[layer].transpose(-1, -2)
    to_old = (
        to_old.unflatten(2, (variants, slots, group)).permute(0, 2, 1, 4, 3, 5).flatten(2, 3)
    )  # [example variant head slot pos]
    heads_first = q.transpose(2, 3)
    to_own = heads_first @ k.permute(0, 1, 3, 4, 2)  # [example variant head slot slot]
    scores = torch.cat([to_old, to_own], dim=-1) * attention.scaling
    hidden = ~torch.cat([old, own], dim=-1)[:, None, None]
    pattern = scores.masked_fill(hidden, float("-inf")).softmax(-1, dtype=torch.float32).to(q.dtype)
    n_old = to_old.shape[-1]
    on_old = pattern[..., :n_old].unflatten(2, (-1, group)).permute(0, 2, 1, 4, 3, 5).flatten(2, 4)
    z_old = (
        (on_old @ run.values[layer])
        .unflatten(2, (variants, slots, group))
        .permute(0, 2, 3, 1, 4, 5)
        .flatten(3, 4)
    )
    z_own = (pattern[..., n_old:] @ v.transpose(2, 3)).transpose(2, 3)
    return _edited(z_old + z_own, edits, "z"), k, v


def _edited(vectors: Tensor, edits: Sequence[Edit], kind: str) -> Tensor:
    for edit in edits:
        if edit.kind == kind:
            vectors = edit.apply(vectors)
    return vectors


def _rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def _visible(run: Run, positions: Tensor) -> tuple[Tensor, Tensor]:
    """What a replayed position may attend to: cached positions [example slot pos], replayed ones
    [example slot slot].
    """
    every = torch.arange(run.keys.shape[3], device=positions.device)
    replayed = (every == positions[..., None]).any(1)  # [example pos]
    old = (every < positions[..., None]) & ~replayed[:, None]
    return old, positions[:, None, :] <= positions[:, :, None]


def _check(model: Model, run: Run, positions: Tensor, edits: Sequence[Edit], start: int) -> None:
    slots = positions.shape[1]
    beyond = positions[:, -1].cpu() >= run.prompts.lengths
    if bool(beyond.any()) or bool((positions[:, 1:] <= positions[:, :-1]).any()):
        raise AlignmentError(
            "the replayed positions do not ascend or lie beyond the end of a prompt; each example"
            " needs ascending positions inside it. Take them from its roles."
        )
    for edit in edits:
        if edit.kind not in KINDS:
            raise SiteError(
                f"no edit of kind {edit.kind!r}; allowed are {', '.join(KINDS)}. Name one of them."
            )
        if not start <= edit.layer < model.n_layers:
            raise SiteError(
                f"an edit in layer {edit.layer} would not fire; this replay covers layers {start}"
                f" to {model.n_layers - 1}. Edit one of those, or start lower."
            )
        if not 0 <= edit.slot < slots:
            raise SiteError(
                f"an edit at slot {edit.slot} would not fire; {slots} positions are replayed. Add"
                " its position."
            )


def _budget(model: Model, budget: int | None) -> int:
    if budget is not None:
        return budget
    return torch.cuda.mem_get_info()[0] // 3 if model.device.type == "cuda" else 2**28


def _bytes_per_variant(model: Model, run: Run, positions: Tensor) -> int:
    wide = (
        3 * model.hf.config.intermediate_size
        + 8 * model.d_model
        + 4 * model.n_heads * (run.keys.shape[3] + positions.shape[1])
    )
    return positions.numel() * wide * model.dtype.itemsize

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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from entrack.errors import AlignmentError, EntrackError, SiteError
from entrack.model.activations import Run
from entrack.model.answers import Outcome, joined, read_out
from entrack.model.decoder import Model
from entrack.model.edits import KINDS, Edit
from entrack.model.lent_attention import AttentionInputs, Places


@dataclass(frozen=True, eq=False)
class Replay:
    """A few positions of a clean run, to be run again with edits. Nothing runs before it is asked.

    All other positions keep their clean keys and values, whatever the edits: give every later
    position to which a change shall spread.

    Attributes:
        model, run: whose run this is.
        positions: ascending positions of each example [example slot].
        edits: what is put in.
        variants: how many versions of the replay share the clean run.
        start: layer to start at; default the lowest edited one, below which nothing changes.
        resid: residual stream entering `start` at `positions` [example variant slot d_model], the
            variants' axis may be 1; default clean.
        unseen: an earlier position of each example that its first slot may not attend to [example],
            or several [example hidden].

    Cost: `example * variant * slot` tokens through the layers from `start` on.
    """

    model: Model
    run: Run
    positions: Tensor
    edits: Sequence[Edit] = ()
    variants: int = 1
    start: int | None = None
    resid: Tensor | None = None
    unseen: Tensor | None = None

    def of_variants(self, part: slice) -> "Replay":
        """The same replay of some of the variants."""
        given = self.resid
        return replace(
            self,
            edits=[e.of_variants(part) for e in self.edits],
            variants=part.stop - part.start,
            resid=given if given is None or given.shape[1] == 1 else given[:, part],
        )

    def final(
        self, *, on_layer: Callable[[int, Tensor, AttentionInputs, Tensor], None] | None = None
    ) -> Tensor:
        """Residual stream leaving the last layer at `positions` [example variant slot d_model].

        Args:
            on_layer: called with (layer, residual entering it, what attention was asked before any
                edit, z) of the replayed positions; rows of tensors are example * variant.

        Raises:
            SiteError: an edit names a layer, slot or kind that is not replayed.
            AlignmentError: positions that do not ascend, or lie beyond a prompt; an unseen position
                that is none before them.
        """
        model, run, edits = self.model, self.run, self.edits
        positions = self.positions.to(model.device)
        start = min((e.layer for e in edits), default=0) if self.start is None else self.start
        _check(model, run, positions, edits, start)
        rows = torch.arange(len(positions), device=model.device)[:, None]
        resid = run.resid[start][rows, positions][:, None] if self.resid is None else self.resid
        h = resid.expand(-1, self.variants, -1, -1).flatten(0, 1)
        places = _places(model, run, positions, self.variants)
        attending = _Attending(run, positions, self.variants, self.unseen)
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and any(e.mask.requires_grad for e in edits)
        ):
            for layer in range(start, model.n_layers):
                here = [e for e in edits if e.layer == layer]
                noted: list[tuple[AttentionInputs, Tensor]] = []

                def attend(inputs: AttentionInputs, layer=layer, here=here, noted=noted) -> Tensor:
                    z = attending(layer, inputs, here)
                    noted.append((inputs, z))
                    return z

                entering, h = h, model.layers.forward(layer, h, places, attend)
                if on_layer is not None:
                    on_layer(layer, entering, *noted[0])
        return h.unflatten(0, (-1, self.variants))

    def outcomes(self, *, answers: Tensor | None = None, budget: int | None = None) -> Outcome:
        """The answers of every variant, read at the last slot.

        Args:
            answers: the right tokens, [example] or [example variant]; default the prompts' own.
            budget: bytes for intermediate tensors; default 256 MB on a CPU, a third of what is free
                on CUDA. Variants go through in chunks that fit; a chunk that does not fit after all
                is halved.

        Raises what `final` raises, and EntrackError with too little memory for one variant.
        """
        model = self.model
        answers = self.run.prompts.answers if answers is None else answers
        fitting = _budget(model, budget) // _bytes_per_variant(model, self.run, self.positions)
        size = max(1, min(self.variants, fitting))
        found: list[Outcome] = []
        lo = 0
        while lo < self.variants:
            part = slice(lo, min(lo + size, self.variants))
            try:
                leaving = self.of_variants(part).final()[:, :, -1]
                asked = answers if answers.ndim == 1 else answers[:, part]
                found.append(read_out(model, leaving, asked))
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise EntrackError(
                        f"one variant does not fit into the memory of {model.device}; fewer"
                        " examples at once do. Lower the number of prompts per chunk."
                    ) from error
                size //= 2
                continue
            lo = part.stop
        return joined(found, dim=1)


def rerun(model: Model, run: Run, *, positions: Tensor, edits: Sequence[Edit]) -> Run:
    """A new `Run` in which `positions` were recomputed with `edits`, to patch on top of.

    Edits must have one variant, of q or z. Layers below the lowest edit are shared with `run`.
    """
    positions = positions.to(model.device)
    rows = torch.arange(len(positions), device=model.device)[:, None]
    new = {name: getattr(run, name).clone() for name in ("resid", "keys", "values", "z")}

    if any(edit.kind in ("k", "v") for edit in edits):
        raise SiteError(
            "an edit of k or v of one query head cannot be kept in a run, which holds them by"
            " kv-head; edits of q and z can. Make this edit in the replay itself."
        )

    def store(layer: int, entering: Tensor, asked: AttentionInputs, z: Tensor) -> None:
        new["resid"][layer][rows, positions] = entering
        for name, vectors in (("keys", asked.k), ("values", asked.v)):
            new[name][layer].transpose(1, 2)[rows, positions] = vectors.transpose(1, 2)
        new["z"][layer][rows, positions] = z

    with torch.no_grad():
        leaving = Replay(model, run, positions, edits).final(on_layer=store)
    new["resid"][model.n_layers][rows, positions] = leaving[:, 0]
    return Run(prompts=run.prompts, **new)


class _Attending:
    """Attention of the replayed positions, under edits: to each other, and to the clean keys and
    values of all other positions."""

    def __init__(self, run: Run, positions: Tensor, variants: int, unseen: Tensor | None):
        self.run, self.positions, self.variants = run, positions, variants
        self.every = torch.arange(run.length, device=positions.device)
        self.cached = ~(self.every == positions[..., None]).any(1)[:, None].repeat(
            1, positions.shape[1], 1
        )  # [example slot pos]
        if unseen is not None:
            unseen = unseen.to(positions.device).reshape(len(unseen), -1)
            if bool((unseen >= positions[:, :1]).any()):
                raise AlignmentError(
                    "a position to hide does not lie before the replayed ones; only what came"
                    " before can be seen. Name an earlier one."
                )
            self.cached[torch.arange(len(unseen))[:, None], 0, unseen] = False

    def __call__(self, layer: int, asked: AttentionInputs, edits: Sequence[Edit]) -> Tensor:
        """Head outputs [example*variant slot head d_head]."""
        keys, values = self.run.keys[layer], self.run.values[layer]
        q, k, v = (
            self._edited(vectors, edits, kind)
            for kind, vectors in (("q", asked.q), ("k", asked.k), ("v", asked.v))
        )  # [example variant head slot d_head]
        slots, group = q.shape[3], q.shape[2] // keys.shape[1]
        # Cached keys are per kv-head: all variants, slots and query heads of a group are rows of
        # one product.
        packed = q.unflatten(2, (-1, group)).permute(0, 2, 1, 4, 3, 5).flatten(2, 4)
        unpacked = (self.variants, slots, group)
        to_cached = (packed @ keys.transpose(-1, -2)).unflatten(2, unpacked)
        to_cached = to_cached.permute(0, 2, 1, 4, 3, 5).flatten(2, 3)
        k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], dim=2) for x in (k, v))
        to_own = q @ k.transpose(-1, -2)  # [example variant head slot slot]
        scores = asked.scores(torch.cat([to_cached, to_own], dim=-1))
        seen = torch.cat(
            [
                asked.visible(self.positions, self.every) & self.cached,
                asked.visible(self.positions, self.positions),
            ],
            dim=-1,
        )[:, None, None]
        pattern = scores.masked_fill(~seen, float("-inf")).softmax(-1, dtype=torch.float32)
        pattern = pattern.to(q.dtype)
        on_cached = pattern[..., : self.run.length].unflatten(2, (-1, group))
        on_cached = on_cached.permute(0, 2, 1, 4, 3, 5).flatten(2, 4)
        z_cached = (on_cached @ values).unflatten(2, unpacked).permute(0, 2, 3, 1, 4, 5)
        z_own = (pattern[..., self.run.length :] @ v).transpose(2, 3)
        z = z_cached.flatten(3, 4) + z_own  # [example variant slot head d_head]
        for edit in edits:
            if edit.kind == "z":
                z = edit.apply(z)
        return z.flatten(0, 1)

    def _edited(self, vectors: Tensor, edits: Sequence[Edit], kind: str) -> Tensor:
        """[example variant head slot d_head]; by query head where k or v are edited, else as
        given."""
        vectors = vectors.unflatten(0, (-1, self.variants))
        made = [edit for edit in edits if edit.kind == kind]
        if not made:
            return vectors
        n_heads = made[0].mask.shape[-1]
        vectors = vectors.repeat_interleave(n_heads // vectors.shape[2], dim=2).transpose(2, 3)
        for edit in made:
            vectors = edit.apply(vectors)
        return vectors.transpose(2, 3)


def _places(model: Model, run: Run, positions: Tensor, variants: int) -> Places:
    """The places of all rows; one row for all where the examples share them."""
    if bool((positions == positions[:1]).all()):
        return model.layers.places(positions[:1], length=run.length)
    return model.layers.places(positions.repeat_interleave(variants, dim=0), length=run.length)


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
                f"an edit at slot {edit.slot} would not fire; this replay has slots 0 to"
                f" {slots - 1}. Add its position."
            )


def _budget(model: Model, budget: int | None) -> int:
    if budget is not None:
        return budget
    return torch.cuda.mem_get_info()[0] // 3 if model.device.type == "cuda" else 2**28


def _bytes_per_variant(model: Model, run: Run, positions: Tensor) -> int:
    intermediate = getattr(model.config, "intermediate_size", None) or 4 * model.d_model
    wide = (
        3 * intermediate
        + 8 * model.d_model
        + 4 * model.n_heads * (run.keys.shape[3] + positions.shape[1])
    )
    return positions.numel() * wide * model.dtype.itemsize

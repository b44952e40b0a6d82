"""Path patching: what each head sends to the answer, or to other heads, and through nothing else.

The algorithm is Wang et al. 2022 (appendix B) as the paper uses it (section 4.1):

1. run clean and corrupt prompts and keep every head's output z;
2. run the clean prompt with the sender's z taken from the corrupt run and every other head, from
   the sender's position on, frozen to its clean z; MLPs and norms are recomputed; note what the
   receivers are given;
3. run the clean prompt with only the receivers' q, k or v replaced by that, and everything after
   recomputed.

Done literally, steps 2 and 3 are a forward pass of the whole prompt each, per sender. Done here:

* in step 2 nothing can move between positions, for no head may carry it. The change stays at one
  token and passes only through `o_proj`, norms and MLPs: no attention is computed, and all senders
  go at once;
* in step 3 only the positions from the receivers' on can change, from the first receiver above the
  sender on: `Replay` recomputes these, senders packed;
* a sender above every receiver has no path and is not run.

The results are equal to the literal algorithm's (`tests/reference/literal_path_patching.py`) up to
rounding.

Where a norm stands behind the attention, a sender's change goes through it
together with the clean outputs of the layer's other heads. Such a norm fixes the size of what the
attention adds, so a smaller head makes its siblings larger, and the effects of single heads do not
add up to the effect of all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.activations import CHUNK, Run, clean_run, project
from entrack.model.answers import read_out
from entrack.model.decoder import Model
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.replay import Replay
from entrack.patching.head_scores import HeadScores
from entrack.sites import COMPOSITIONS, STRUCTURE_ROLES, Head, check_heads
from entrack.stats.metrics import log_odds_change, relative_change
from entrack.task.prompts import Prompts, chunks

UNITS = {
    "relative_change": (
        "relative change of the right answer's probability, (p_patched - p_clean) / p_clean;"
        " negative = the head helps"
    ),
    "log_odds": (
        "change of the log odds of the right answer, log(p / (1 - p)), in nats; negative = the head"
        " helps"
    ),
}


SCORES = {"relative_change": relative_change, "log_odds": log_odds_change}


@dataclass(frozen=True)
class PathConfig:
    """How path patching is done.

    Attributes:
        score: "relative_change" of the answer's probability, as in the paper, or the change of its
            "log_odds". The first is unbounded above and nearly zero where the model is sure, so
            that a few pairs on which it is unsure decide the mean; the second weighs sure and
            unsure pairs alike.
        as_published: take the corrupt z of the structure readers' role from behind or at a random
            label of the corrupt prompt, drawn anew per head and example, as the released code does.
        seed: of those draws.
        chunk: examples whose runs are held at once.
        budget: bytes for intermediate tensors of the receiver pass; None = see `Replay.outcomes`.
    """

    score: str = "relative_change"
    as_published: bool = False
    seed: int = 0
    chunk: int = CHUNK
    budget: int | None = None

    def __post_init__(self) -> None:
        if self.score not in UNITS:
            raise ConfigError(
                f"no score {self.score!r}; allowed are {' and '.join(UNITS)}. Use one of them."
            )


def path_patching(
    model: Model,
    clean: Prompts,
    *,
    corrupt: Prompts,
    role: str,
    receivers: Sequence[Head] = (),
    via: str = "logits",
    config: PathConfig = PathConfig(),
) -> HeadScores:
    """Effect of every sender head at `role` on the answer, through `receivers` only.

    Args:
        clean, corrupt: pairs of prompts of equal length, in the same order.
        role: token role at which senders act and receivers are read.
        receivers: heads whose inputs may change; none for `via="logits"`.
        via: "logits", or the input of the receivers that takes the change: "q", "k" or "v".

    Returns:
        HeadScores [layer head example]: by default, relative change of the probability of the right
        answer. 0 = no effect, -1 = the answer is gone. NaN = no causal path (a layer at or above
        the highest receiver).

    Raises:
        SiteError: a receiver that the model does not have, or receivers that no sender can reach.
        AlignmentError: clean and corrupt prompts that do not pair up.
        ConfigError: receivers and `via` contradict each other.

    Cost: per example, one token through the MLPs per sender, and (with receivers) the tokens from
    `role` to the last one through the layers from the first receiver above it on, per sender."""
    receivers = sorted(set(receivers))
    _check(model, clean, corrupt, receivers, via)
    values = np.full((model.n_layers, model.n_heads, len(clean)), np.nan, dtype=np.float32)
    baseline = np.zeros(len(clean), dtype=np.float32)
    generator = torch.Generator().manual_seed(config.seed)
    for indices in _batches(clean, role, via, config.chunk):
        run = clean_run(model, clean.subset(indices))
        change = (
            _corrupt_z(model, corrupt.subset(indices), role, config, generator).float()
            - run.z_at(role).float()
        )
        if via == "logits":
            blocks = [_to_logits(model, run, change, role=role)]
        else:
            blocks = _to_receivers(
                model, run, change, role=role, receivers=receivers, via=via, config=config
            )
        for layers, log_prob in blocks:
            effect = SCORES[config.score](log_prob[:, 1:], log_prob[:, :1])
            values[layers.start : layers.stop, :, indices] = effect.reshape(
                len(indices), len(layers), -1
            ).transpose(1, 2, 0)
            baseline[indices] = np.exp(log_prob[:, 0])
    target = "logits" if via == "logits" else f"{via} of {len(receivers)} heads"
    return HeadScores(
        values=values,
        unit=UNITS[config.score],
        baseline=baseline,
        label=f"senders at {role} -> {target}",
    )


def _batches(clean: Prompts, role: str, via: str, chunk: int) -> Iterator[list[int]]:
    """Examples that are run together; with receivers they must share the distance from `role` to
    the end.
    """
    for group in [list(range(len(clean)))] if via == "logits" else by_suffix(clean, role):
        yield from chunks(group, chunk)


@torch.no_grad()
def _corrupt_z(
    model: Model, corrupt: Prompts, role: str, config: PathConfig, generator: torch.Generator
) -> Tensor:
    """Step 1: the senders' z in the corrupt run [layer example head d_head]."""
    run = clean_run(model, corrupt)
    if not (config.as_published and role in STRUCTURE_ROLES):
        return run.z_at(role)
    labels = corrupt.segments["label"] + STRUCTURE_ROLES.index(role)
    drawn = torch.randint(labels.shape[1], run.z.shape[:2] + (model.n_heads,), generator=generator)
    where = (
        labels[None, :, None].expand(*drawn.shape, -1).gather(-1, drawn[..., None])[..., 0]
    )  # [layer example head]
    examples, heads = torch.arange(len(corrupt))[:, None], torch.arange(model.n_heads)
    return torch.stack(
        [run.z[layer][examples, where[layer], heads] for layer in range(model.n_layers)]
    )


@torch.no_grad()
def send(
    model: Model, run: Run, change: Tensor, *, role: str, until: int
) -> Iterator[tuple[int, Tensor]]:
    """Step 2, all senders at once: the residual stream entering each layer up to `until`.

    Args:
        change: corrupt less clean z at `role` [layer example head d_head].

    Yields (layer, [example 1+layer*n_heads d_model]): a row per sender below that layer; row 0 is
    the clean prompt in the same batch, so that rounding cancels. The last item enters `until` (the
    final norm when that is n_layers)."""
    resid, z = run.resid_at(role), run.z_at(role)
    layers, n = model.layers, model.n_heads
    each = torch.eye(n, dtype=model.dtype, device=model.device)[..., None]  # [sender head 1]
    h = resid[0][:, None]
    for layer in range(until):
        yield layer, h
        attended = layers.output(layer, z[layer])[:, None]
        alone = change[layer].to(model.dtype)[:, None] * each  # [example sender head d_head]
        # A bias of the projection belongs to the clean output already.
        moved = layers.output(layer, alone) - layers.output(layer, torch.zeros_like(alone[:1, :1]))
        given = torch.cat([attended.expand_as(h), attended + moved], dim=1)
        h = layers.with_output(
            layer, torch.cat([h, resid[layer][:, None].expand(-1, n, -1)], dim=1), given
        )
    yield until, h


@torch.no_grad()
def _to_logits(model: Model, run: Run, change: Tensor, *, role: str) -> tuple[range, np.ndarray]:
    """Sender layers, and log probability of the answer after step 2 [example 1+sender]."""
    *_, (_, final) = send(model, run, change, role=role, until=model.n_layers)
    return range(model.n_layers), read_out(model, final, run.prompts.answers).log_prob.cpu().numpy()


@torch.no_grad()
def _to_receivers(
    model: Model,
    run: Run,
    change: Tensor,
    *,
    role: str,
    receivers: Sequence[Head],
    via: str,
    config: PathConfig,
) -> Iterator[tuple[range, np.ndarray]]:
    """Step 3, in blocks of senders that first meet a receiver in the same layer and so start there.

    Yields sender layers, and the log probability of the answer [example 1+sender]; row 0 is the
    clean prompt."""
    layers = sorted({h.layer for h in receivers})
    position = run.prompts.at(role)[:, None]
    given = {
        layer: project(
            model, h, position.expand(h.shape[:2]), length=run.length, kind=via, layer=layer
        )
        for layer, h in send(model, run, change, role=role, until=layers[-1])
        if layer in layers
    }
    for first, senders in zip(
        layers, (range(lo, hi) for lo, hi in pairwise([0, *layers])), strict=True
    ):
        if not senders:
            continue
        rows = [0, *range(1 + senders.start * model.n_heads, 1 + senders.stop * model.n_heads)]
        edits = []
        for layer in layers[layers.index(first) :]:
            mask = torch.zeros(1, 1, model.n_heads, dtype=torch.bool, device=model.device)
            here = [r.head for r in receivers if r.layer == layer]
            mask[..., here] = True
            edits.append(Edit(via, layer, 0, given[layer][:, rows], mask))
        found = Replay(
            model, run, positions=suffix(run, role), edits=edits, variants=len(rows)
        ).outcomes(budget=config.budget)
        yield senders, found.log_prob.cpu().numpy()


def _check(
    model: Model, clean: Prompts, corrupt: Prompts, receivers: Sequence[Head], via: str
) -> None:
    if via not in COMPOSITIONS:
        raise ConfigError(
            f"no composition {via!r}; allowed are {', '.join(COMPOSITIONS)}. Use one of them."
        )
    if (via == "logits") == bool(receivers):
        raise ConfigError(
            f"{len(receivers)} receivers with via={via!r}; receivers go with q, k or v, and logits"
            " with none. Change one of the two."
        )
    check_heads(receivers, model.n_layers, model.n_heads)
    if receivers and max(h.layer for h in receivers) == 0:
        raise SiteError(
            "all receivers are in layer 0, below every sender; a sender reaches only higher layers."
            " Choose higher receivers."
        )
    if len(clean) != len(corrupt) or not torch.equal(clean.lengths, corrupt.lengths):
        raise AlignmentError(
            f"{len(clean)} clean and {len(corrupt)} corrupt prompts that do not pair up; "
            "each pair must have equal length. Make them with boxes.pairs and encode_pairs."
        )

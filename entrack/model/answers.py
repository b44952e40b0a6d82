"""What a model answers at the last token: the right token's probability, the most likely token."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from entrack.model.decoder import Model
from entrack.model.hooks import Trace
from entrack.task.prompts import Prompts, chunks

CHUNK = 50  # prompts that go through a forward pass together


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


def read_out(model: Model, resid: Tensor, answers: Tensor) -> Outcome:
    """What a final residual stream [example variant d_model] answers.

    `answers` are the right tokens, one per example [example] or per variant [example variant].
    """
    shape, device = resid.shape[:-1], resid.device
    wanted = answers.to(device).reshape(len(answers), -1).expand(shape)
    rows, target = resid.flatten(0, -2), wanted.flatten()
    log_prob, logit, top = [], [], []
    step = max(1, 2**28 // (4 * model.config.vocab_size))
    for lo in range(0, len(rows), step):
        logits = model.layers.logits(rows[lo : lo + step]).float()
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
def answers_of(model: Model, prompts: Prompts) -> Outcome:
    """What the unedited model answers, through Hugging Face's own forward [example 1]."""
    found = []
    for indices in chunks(range(len(prompts)), CHUNK):
        part = prompts.subset(indices)
        # The final norm belongs to read_out, so the residual stream before it is what is kept.
        norm = model.layers.path("final norm")
        with Trace(model.hf, norm, retain_input=True, retain_output=False) as trace:
            model.hf.base_model(part.tokens.to(model.device), use_cache=False)
        hidden = trace.input[torch.arange(len(part)), part.at("last")]
        found.append(read_out(model, hidden[:, None], part.answers))
    return joined(found, dim=0)


def joined(found: Sequence[Outcome], *, dim: int) -> Outcome:
    """Several outcomes as one, along the examples (0) or the variants (1)."""
    return Outcome(
        **{f.name: torch.cat([getattr(o, f.name) for o in found], dim=dim) for f in fields(Outcome)}
    )

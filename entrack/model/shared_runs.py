"""Runs of some prompts out of many, and of prompts that share a context, which then runs once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from entrack.model.activations import Run, clean_run
from entrack.model.decoder import Model
from entrack.model.edits import suffix
from entrack.model.replay import rerun
from entrack.task.prompts import Prompts


def take(run: Run, indices: Sequence[int]) -> Run:
    """The run of some of its prompts."""
    rows = list(indices)
    cut = {
        name: getattr(run, name)[:, rows]
        for name in ("resid", "keys", "values", "z")
        if len(getattr(run, name))
    }
    return replace(run, prompts=run.prompts.subset(rows), **cut)


@torch.no_grad()
def run_shared(model: Model, prompts: Prompts) -> Run:
    """`clean_run`, with every context that several prompts share run only once.

    Prompts share a context when all tokens before their query label are the same. Their questions
    run on top of it, which equals a run of the whole prompts up to rounding."""
    first, members = prompts.at("query_label").tolist(), {}
    for index, row in enumerate(prompts.tokens.tolist()):
        members.setdefault((tuple(row[: first[index]]), int(prompts.lengths[index])), []).append(
            index
        )
    same_question = len((prompts.at("last") - prompts.at("query_label")).unique()) == 1
    if len(members) == len(prompts) or not same_question:
        return clean_run(model, prompts)
    once = clean_run(model, prompts.subset([indices[0] for indices in members.values()]))
    owner = torch.empty(len(prompts), dtype=torch.long)
    for number, indices in enumerate(members.values()):
        owner[indices] = number
    tokens = prompts.tokens.to(model.device)
    every = torch.arange(tokens.shape[1], device=model.device).expand_as(tokens)
    embedded = model.layers.embed(tokens, every)
    run = Run(
        prompts=prompts,
        resid=torch.cat([embedded[None], once.resid[1:, owner]]),
        keys=once.keys[:, owner],
        values=once.values[:, owner],
        z=once.z[:, owner],
    )
    return rerun(model, run, positions=suffix(run, "query_label"), edits=[])

"""Counterfactual pairs whose source the model understands: a source that it reads wrongly has
nothing to give, and blurs what the patch shows."""

from dataclasses import replace

import numpy as np

from entrack.circuit.wordings import Wording
from entrack.model.decoder import Model
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals


def understood(model: Model, wording: Wording) -> Wording | None:
    """The pairs of `wording` whose source the model itself answers right with nothing patched, and
    their patched answers; None where it answers none right. Ours.

    The choice is made after the fact and by the model's own answers, so the pairs that are left
    are the easier ones. Cost: none beside `wordings.source_accuracy`, whose stored answers it
    reads."""
    source = encode_counterfactuals(model.tokenizer, wording.pairs).source
    alone = CounterfactualPrompts(
        base=source, source=source, answers=source.answers, alternatives={}
    )
    answers = patch_pairs(
        model, alone, patches={"nothing": Patch("last")}, expected_candidate="object"
    )
    right = answers.unpatched == answers.candidates["object"]
    return chosen(wording, right) if right.any() else None


def chosen(wording: Wording, kept: np.ndarray) -> Wording:
    """The pairs of `wording` where `kept` is true [pair]."""
    patched = wording.patched
    return replace(
        wording,
        pairs=tuple(pair for pair, keep in zip(wording.pairs, kept, strict=True) if keep),
        patched=replace(
            patched,
            candidates={name: tokens[kept] for name, tokens in patched.candidates.items()},
            answers=patched.answers[:, kept],
            unpatched=patched.unpatched[kept],
            scenes=patched.scenes[kept],
        ),
    )

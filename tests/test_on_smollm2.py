"""The default model itself: what holds on tiny models holds where it is used. Skipped where it
cannot be had.
"""

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from reference.literal_path_patching import literal_effect, prepare
from tiny_models import last_logits

from entrack.errors import ModelError
from entrack.model.activations import clean_run
from entrack.model.answers import answers_of
from entrack.patching.path_patching import path_patching
from entrack.sites import Head
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs
from entrack.versions.loading import load


@pytest.fixture(scope="module")
def base():
    try:
        return load("smollm2/base", device="cpu")
    except ModelError as error:
        pytest.skip(f"the default model is not here: {error}")


@pytest.fixture(scope="module")
def some_pairs(base):
    return encode_pairs(base.tokenizer, pairs(3, split="discovery"))


def test_logits_are_hugging_faces_own(base):
    prompts = encode(base.tokenizer, examples(4, split="evaluation"))
    with torch.no_grad():
        own = base.hf(prompts.tokens).logits
        again = base.hf.lm_head(base.hf.model.norm(clean_run(base, prompts).resid[-1]))
    assert torch.equal(own, again)
    assert torch.equal(
        answers_of(base, prompts).top[:, 0], own[torch.arange(4), prompts.at("last")].argmax(-1)
    )


# The strongest senders of each stage in this model, and two that do next to nothing.
@pytest.mark.parametrize(
    ("role", "via", "receivers", "senders"),
    [
        ("last", "logits", [], [(23, 2), (29, 1), (3, 3)]),
        ("last", "q", [(23, 2), (29, 1), (29, 2)], [(19, 1), (20, 1), (26, 0)]),
        ("query_label", "v", [(19, 1), (20, 1), (22, 4)], [(17, 4), (18, 6), (5, 6)]),
        ("prev_query_label", "v", [(17, 4), (18, 6), (17, 0)], [(15, 8), (3, 4), (16, 1)]),
    ],
)
def test_path_patching_equals_the_literal_algorithm(
    base, some_pairs, role, via, receivers, senders
):
    clean, corrupt = some_pairs
    heads = [Head(*r) for r in receivers]
    scores = path_patching(base, clean, corrupt=corrupt, role=role, receivers=heads, via=via)
    prepared = prepare(base, clean, corrupt)
    literals = []
    for layer, head in senders:
        literal = literal_effect(
            base,
            clean,
            corrupt,
            sender=(layer, head),
            role=role,
            receivers=receivers,
            via=via,
            prepared=prepared,
        )
        literals.append(np.asarray(literal))
    found = np.stack([scores.values[sender] for sender in senders])
    assert np.abs(literals).max() > 0.05, "an effect to compare"
    # A relative change is the difference of two log probabilities, to first order.
    assert_close(
        found,
        np.stack(literals),
        terms=additions(base, clean.tokens.shape[1]),
        magnitude=last_logits(base, clean),
        # Structure readers' effects are small: the bound of rounding is wide beside them.
        unlike=None if role == "prev_query_label" else np.zeros_like(found),
    )

"""Path patching against the literal two-pass algorithm, its identities, and its errors."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from reference.literal_path_patching import literal_effect
from tiny_models import last_logits

from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.edits import by_suffix
from entrack.patching.path_patching import PathConfig, path_patching
from entrack.sites import Head

RECEIVERS = [Head(layer, head) for layer in (1, 2, 3) for head in (0, 1, 3)]


def literal_map(model, clean, corrupt, layers, **options):
    return np.stack(
        [
            np.stack(
                [
                    literal_effect(model, clean, corrupt, sender=(layer, head), **options)
                    for head in range(model.n_heads)
                ]
            )
            for layer in range(layers)
        ]
    )


def rounding(model, clean):
    """What an effect on a log probability is made from: whole passes, and their logits."""
    return {
        "terms": additions(model, clean.tokens.shape[1]),
        "magnitude": last_logits(model, clean),
    }


def log_change(values):
    """The change of the log probability behind a relative change: a difference of two sums."""
    return np.log1p(np.asarray(values, dtype=np.float64))


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
@pytest.mark.parametrize("via", ["logits", "q", "k", "v"])
def test_equals_the_literal_algorithm(any_model, pair_prompts, role, via):
    """Every sender, q, k, v and logits, another position in each example, MHA, GQA and MQA."""
    clean, corrupt = (p.subset([0, 2, 5, 9, 11, 13]) for p in pair_prompts)
    if via == "logits" and role != "last":
        pytest.skip("the logits are read at the last token")
    receivers = [] if via == "logits" else RECEIVERS
    scores = path_patching(
        any_model, clean, corrupt=corrupt, role=role, receivers=receivers, via=via
    )
    layers = any_model.n_layers if via == "logits" else 3
    literal = literal_map(
        any_model,
        clean,
        corrupt,
        layers,
        role=role,
        via=via,
        receivers=[(r.layer, r.head) for r in receivers],
    )
    assert_close(
        log_change(scores.values[:layers]),
        log_change(literal),
        unlike=np.zeros_like(literal, dtype=np.float64),
        **rounding(any_model, clean),
    )


def test_no_path_is_nan_and_not_zero(model, pair_prompts):
    clean, corrupt = pair_prompts
    scores = path_patching(model, clean, corrupt=corrupt, role="last", receivers=RECEIVERS, via="q")
    assert np.isnan(scores.values[3:]).all() and np.isfinite(scores.values[:3]).all()
    assert all(h.layer < 3 for h in scores.ranked()) and len(scores.ranked()) == 12
    assert list(scores.ranked()) == sorted(
        scores.ranked(), key=lambda h: scores.grid()[h.layer, h.head]
    )


def test_patching_with_itself_does_nothing(model, pair_prompts):
    clean, _ = pair_prompts
    for via, receivers in (("logits", []), ("v", RECEIVERS)):
        scores = path_patching(
            model, clean, corrupt=clean, role="last", receivers=receivers, via=via
        )
        found = log_change(scores.values[~np.isnan(scores.values)])
        assert_close(found, np.zeros_like(found), **rounding(model, clean))


def test_order_and_chunks_of_examples_do_not_matter(model, pair_prompts):
    clean, corrupt = pair_prompts
    options = {"role": "prev_query_label", "receivers": RECEIVERS, "via": "v"}
    whole = path_patching(model, clean, corrupt=corrupt, **options)
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = path_patching(
        model,
        clean.subset(order),
        corrupt=corrupt.subset(order),
        config=PathConfig(chunk=1, budget=1),
        **options,
    )
    same, paths = rounding(model, clean), slice(0, 3)  # layers below the highest receiver
    assert_close(
        log_change(shuffled.values[paths]),
        log_change(whole.values[paths][..., order]),
        unlike=log_change(whole.values[paths]),
        **same,
    )
    assert_close(np.log(shuffled.baseline), np.log(whole.baseline[order]), **same)
    assert len(by_suffix(clean, "prev_query_label")) == 7


def test_baseline_is_the_clean_probability(model, pair_prompts):
    clean, corrupt = pair_prompts
    scores = path_patching(model, clean, corrupt=corrupt, role="last")
    with torch.no_grad():
        logits = model.hf(clean.tokens).logits[torch.arange(len(clean)), clean.at("last")]
    expected = logits.log_softmax(-1)[torch.arange(len(clean)), clean.answers]
    assert_close(np.log(scores.baseline), expected, **rounding(model, clean))


def test_as_published_draws_another_label_per_head(model, pair_prompts):
    clean, corrupt = pair_prompts
    options = {"role": "prev_query_label", "receivers": RECEIVERS, "via": "v"}
    right = path_patching(model, clean, corrupt=corrupt, **options)
    published = [
        path_patching(
            model, clean, corrupt=corrupt, config=PathConfig(as_published=True, seed=s), **options
        )
        for s in (0, 0, 1)
    ]
    # Exactly: the same call twice.
    np.testing.assert_array_equal(published[0].values, published[1].values)
    for other in (published[2], right):
        assert_apart(
            log_change(published[0].values[:3]),
            log_change(other.values[:3]),
            **rounding(model, clean),
        )


def test_bad_input_is_refused(model, pair_prompts):
    clean, corrupt = pair_prompts
    with pytest.raises(SiteError, match="7"):
        path_patching(model, clean, corrupt=corrupt, role="last", receivers=[Head(7, 0)], via="q")
    with pytest.raises(SiteError, match="all receivers are in layer 0, below every sender"):
        path_patching(model, clean, corrupt=corrupt, role="last", receivers=[Head(0, 1)], via="q")
    with pytest.raises(ConfigError, match="no composition 'mlp'; allowed are logits, q, k, v"):
        path_patching(model, clean, corrupt=corrupt, role="last", receivers=RECEIVERS, via="mlp")
    with pytest.raises(ConfigError, match="0 receivers with via='q'"):
        path_patching(model, clean, corrupt=corrupt, role="last", via="q")
    with pytest.raises(AlignmentError, match="14 clean and 3 corrupt prompts that do not pair up"):
        path_patching(model, clean, corrupt=corrupt.subset(range(3)), role="last")
    with pytest.raises(AlignmentError, match="unknown role 'first'"):
        path_patching(model, clean, corrupt=corrupt, role="first")

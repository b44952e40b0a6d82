"""Path patching against the literal two-pass algorithm, its identities, and its errors."""

import numpy as np
import pytest
import torch
from reference.literal_path_patching import literal_effect

from entrack.errors import AlignmentError, ConfigError, SiteError
from entrack.model.replay import by_suffix
from entrack.model.sites import Head
from entrack.patching.path_patching import PathConfig, path_patching

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
    scale = np.maximum(1, np.abs(literal))
    assert np.abs((scores.values[:layers] - literal) / scale).max() < 2e-5
    assert np.abs(literal).max() > 0.05


@pytest.mark.parametrize("via", ["k", "v"])
def test_by_kv_head_equals_the_literal_algorithm(any_model, pair_prompts, via):
    clean, corrupt = (p.subset([0, 2, 5]) for p in pair_prompts)
    options = {"role": "query_label", "via": via}
    scores = path_patching(
        any_model,
        clean,
        corrupt=corrupt,
        receivers=RECEIVERS,
        config=PathConfig(by_kv_head=True),
        **options,
    )
    literal = literal_map(
        any_model,
        clean,
        corrupt,
        3,
        receivers=[(r.layer, r.head) for r in RECEIVERS],
        by_kv_head=True,
        **options,
    )
    assert np.abs((scores.values[:3] - literal) / np.maximum(1, np.abs(literal))).max() < 2e-5
    if any_model.n_kv_heads < any_model.n_heads:
        alone = path_patching(any_model, clean, corrupt=corrupt, receivers=RECEIVERS, **options)
        assert np.nanmax(np.abs(alone.values - scores.values)) > 1e-3


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
        assert np.nanmax(np.abs(scores.values)) < 1e-5


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
    np.testing.assert_allclose(shuffled.values, whole.values[..., order], atol=2e-5)
    np.testing.assert_allclose(shuffled.baseline, whole.baseline[order], atol=1e-6)
    assert len(by_suffix(clean, "prev_query_label")) == 7


def test_baseline_is_the_clean_probability(model, pair_prompts):
    clean, corrupt = pair_prompts
    scores = path_patching(model, clean, corrupt=corrupt, role="last")
    with torch.no_grad():
        logits = model.hf(clean.tokens).logits[torch.arange(len(clean)), clean.at("last")]
    np.testing.assert_allclose(
        scores.baseline, logits.softmax(-1)[torch.arange(len(clean)), clean.answers], rtol=1e-4
    )


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
    np.testing.assert_array_equal(published[0].values, published[1].values)
    assert np.nanmax(np.abs(published[0].values - published[2].values)) > 1e-3
    assert np.nanmax(np.abs(published[0].values - right.values)) > 1e-3


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

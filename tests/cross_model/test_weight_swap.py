"""Grafts: nothing, everything, one head, one matrix; what is shared under grouped-query attention;
norms.
"""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from tiny_models import fine_tuned, tiny_model

from entrack.cross_model.weight_swap import graft, per_head, per_head_run, update_norms
from entrack.errors import ConfigError, ModelError, SiteError
from entrack.model.activations import clean_run
from entrack.sites import Head
from entrack.versions.families import MODELS
from entrack.versions.loading import load

pytestmark = pytest.mark.usefixtures("own_cache")


def logits(model, prompts):
    with torch.no_grad():
        return model.hf(prompts.tokens).logits


EVERY = [Head(layer, head) for layer in range(5) for head in range(4)]


def test_a_model_with_its_own_k_and_v_per_head_computes_the_same(any_model, prompts):
    split = per_head(any_model)
    assert split.n_kv_heads == any_model.n_heads
    terms = additions(any_model, prompts.tokens.shape[1])
    assert_close(logits(split, prompts), logits(any_model, prompts), terms=terms)
    run, twin = (
        per_head_run(clean_run(any_model, prompts), group_size=any_model.group_size),
        clean_run(split, prompts),
    )
    assert_close(run.keys, twin.keys, terms=terms)
    assert_close(run.values, twin.values, terms=terms)


@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa"])
def test_grafting_nothing_gives_the_receiver_and_everything_the_donor(kind, prompts):
    base, tuned = tiny_model(kind), fine_tuned(kind)
    before = logits(base, prompts)
    terms = additions(base, prompts.tokens.shape[1])
    assert_close(logits(graft(base, tuned, heads=[]), prompts), before, terms=terms)
    whole = logits(graft(base, tuned, heads=EVERY), prompts)
    assert_close(whole, logits(tuned, prompts), terms=terms, unlike=before)
    # Exactly: the same weights, if the receiver is as it was, in the same pass once more.
    assert torch.equal(logits(base, prompts), before)


@pytest.mark.parametrize("matrix", ["q", "k", "v", "o"])
def test_a_graft_changes_one_matrix_of_one_head_and_nothing_else(matrix):
    base, tuned = tiny_model("gqa"), fine_tuned("gqa")
    made, own, given = (
        graft(base, tuned, heads=[Head(2, 1)], matrices=matrix),
        per_head(base),
        per_head(tuned),
    )
    for name, weight in made.hf.state_dict().items():
        if name == f"model.layers.2.self_attn.{matrix}_proj.weight":
            rows = (weight.T if matrix == "o" else weight).unflatten(0, (4, 8))
            ours, theirs = (
                (w.T if matrix == "o" else w).unflatten(0, (4, 8))
                for w in (own.hf.state_dict()[name], given.hf.state_dict()[name])
            )
            assert torch.equal(rows[1], theirs[1]) and torch.equal(rows[[0, 2, 3]], ours[[0, 2, 3]])
            assert not torch.equal(theirs[1], ours[1])
        else:
            assert torch.equal(weight, own.hf.state_dict()[name]), name
    assert made.digest not in (
        base.digest,
        tuned.digest,
        graft(base, tuned, heads=[Head(2, 2)], matrices=matrix).digest,
    )


def test_norms_are_those_of_the_heads_own_rows_and_columns():
    base, tuned = tiny_model("gqa"), fine_tuned("gqa")
    norms = update_norms(tuned, onto=base)
    change = {k: (tuned.hf.state_dict()[k] - v).numpy() for k, v in base.hf.state_dict().items()}
    assert norms.update.shape == (4, 5, 4) and norms.elsewhere == 0
    q, o, k = (change[f"model.layers.3.self_attn.{m}_proj.weight"] for m in "qok")
    weight = base.hf.state_dict()["model.layers.3.self_attn.q_proj.weight"].numpy()
    norm, terms = np.linalg.norm, 8 * 32
    assert_close(norms.update[0, 3, 2], norm(q[16:24]), terms=terms)
    assert_close(norms.update[3, 3, 2], norm(o[:, 16:24]), terms=terms)
    assert_close(norms.update[1, 3, 2], norm(k[8:16]), terms=terms)
    assert norms.update[1, 3, 2] == norms.update[1, 3, 3], "two heads share one key"
    assert_close(norms.relative[0, 3, 2], norm(q[16:24]) / norm(weight[16:24]), terms=terms)
    # No head's norm is another's, so that a mix-up of rows or columns shows.
    assert_apart(norms.update[0, 3, 2], norms.update[0, 3, 1], terms=terms)
    assert_apart(norms.update[3, 3, 2], norms.update[3, 3, 1], terms=terms)
    assert_apart(norms.update[1, 3, 2], norms.update[1, 3, 1], terms=terms)
    assert not update_norms(base, onto=base).update.any()


def test_a_change_outside_the_heads_is_reported():
    base, other = tiny_model("gqa"), tiny_model("gqa")
    other.layers.blocks[0].mlp.down_proj.weight[0, 0] += 3
    magnitude = base.layers.blocks[0].mlp.down_proj.weight[0, 0] + 3
    assert_close(update_norms(other, onto=base).elsewhere, 3.0, terms=2, magnitude=magnitude)


def test_models_of_other_shape_are_refused_with_the_shapes():
    with pytest.raises(
        ModelError,
        match=(
            r"tiny/mqa and tiny/gqa differ in shape \(n_kv_heads 1 and 2\); donor and receiver must"
            r" have one"
        ),
    ):
        graft(tiny_model("gqa"), tiny_model("mqa"), heads=[])
    with pytest.raises(ModelError, match=r"differ in shape \(n_layers 3 and 5\)"):
        update_norms(tiny_model("gqa", n_layers=3), onto=tiny_model("gqa"))


def test_heads_and_matrices_that_are_not_there(model):
    with pytest.raises(SiteError, match="no head 9.0; this model has 5 layers of 4 heads"):
        graft(model, model, heads=[Head(9, 0)])
    with pytest.raises(
        ConfigError, match="matrices 'qx'; allowed are letters of 'qkvo', at least one"
    ):
        graft(model, model, heads=[], matrices="qx")


def test_a_missing_adapter_is_named(tmp_path, monkeypatch):
    (tmp_path / "smollm2.json").write_text((MODELS / "smollm2.json").read_text())
    monkeypatch.setattr("entrack.versions.families.MODELS", tmp_path)
    monkeypatch.setattr("entrack.versions.loading.converted", lambda *_: tmp_path)
    (tmp_path / "digest.json").write_text('{"model.safetensors": "0"}')
    with pytest.raises(
        ModelError,
        match=r"the adapter of smollm2/base is missing from smollm2/base.*entrack train base",
    ):
        load("smollm2/code")


def test_the_mean_update_of_some_heads_is_theirs_alone():
    norms = update_norms(fine_tuned(), onto=tiny_model())
    heads = [Head(1, 2), Head(3, 0)]
    expected = (norms.relative[:, 1, 2] + norms.relative[:, 3, 0]) / 2
    np.testing.assert_allclose(norms.mean_relative(heads), expected)
    np.testing.assert_allclose(norms.mean_relative(), norms.relative.reshape(4, -1).mean(1))

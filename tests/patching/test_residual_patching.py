"""Patching the residual stream layer by layer, against hooks on whole passes and against what must
be so.
"""

import numpy as np
import pytest
import torch

from entrack.errors import AlignmentError, SiteError
from entrack.model.hooks import Trace
from entrack.patching.residual_patching import ResidualPatching, patch_residual
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.desiderata import build

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module", params=["object", "position", "label"])
def counterfactuals(request):
    return build(request.param, 14, split="evaluation")


def hooked_top(model, base, source, role, layer):
    """Most likely tokens when a hook puts the source's stream into the whole pass of the base."""
    rows = torch.arange(len(base))
    name = f"model.layers.{layer}" if layer < model.n_layers else "model.norm"
    with torch.no_grad():
        with Trace(model.hf, name, retain_input=True) as seen:
            model.hf(source.tokens)
        given = seen.input[rows, source.at(role)]

        def put(x):
            return x.index_put((rows, base.at(role)), given)

        with Trace(model.hf, name, edit_input=put):
            logits = model.hf(base.tokens).logits
    return logits[rows, base.at("last")].argmax(-1)


@pytest.mark.parametrize("role", ["last", "query_label", "correct_object"])
def test_equals_hooks_in_whole_passes(any_model, counterfactuals, role):
    found = patch_residual(any_model, counterfactuals, roles=[role])[role]
    prompts = encode_counterfactuals(any_model.tokenizer, counterfactuals)
    assert found.layers == tuple(range(any_model.n_layers + 1))
    moved = False
    for row, layer in enumerate(found.layers):
        top = hooked_top(any_model, prompts.base, prompts.source, role, layer)
        np.testing.assert_array_equal(found.hits[row], (top == prompts.answers).numpy())
        np.testing.assert_array_equal(found.unchanged[row], (top == prompts.base.answers).numpy())
        moved |= bool((top != hooked_top(any_model, prompts.base, prompts.base, role, layer)).any())
    assert moved, "no patch changed an answer, so the comparison would pass without patching"


def test_last_token_after_the_last_layer_gives_the_sources_own_answer(model, counterfactuals):
    """Nothing comes after it, so the base must answer what the source answers, right or wrong."""
    found = patch_residual(model, counterfactuals, roles=["last"], layers=[model.n_layers])["last"]
    prompts = encode_counterfactuals(model.tokenizer, counterfactuals)
    with torch.no_grad():
        logits = model.hf(prompts.source.tokens).logits
    own = logits[torch.arange(len(prompts)), prompts.source.at("last")].argmax(-1)
    np.testing.assert_array_equal(found.hits[0], (own == prompts.answers).numpy())
    np.testing.assert_array_equal(found.source_right, (own == prompts.source.answers).numpy())


def test_roles_together_are_roles_alone(model, counterfactuals):
    roles = ["correct_object", "last", "query_label"]
    together = patch_residual(model, counterfactuals, roles=roles, layers=[1, 3])
    assert list(together) == roles
    for role in roles:
        alone = patch_residual(model, counterfactuals, roles=[role], layers=[1, 3])[role]
        assert together[role].role == role
        for name in ("hits", "unchanged", "floor", "base_right", "source_right"):
            np.testing.assert_array_equal(getattr(together[role], name), getattr(alone, name))


def test_other_tokens_after_the_last_layer_change_nothing(model, counterfactuals):
    found = patch_residual(model, counterfactuals, roles=["query_label"], layers=[model.n_layers])[
        "query_label"
    ]
    np.testing.assert_array_equal(found.hits[0], found.floor)
    np.testing.assert_array_equal(found.unchanged[0], found.base_right)


def test_last_token_before_the_first_layer_changes_nothing(model, counterfactuals):
    """Every prompt ends in "the", whose embedding is the same in base and source."""
    found = patch_residual(model, counterfactuals, roles=["last"], layers=[0])["last"]
    np.testing.assert_array_equal(found.hits[0], found.floor)


def test_chosen_layers_are_rows_of_all_layers(model, counterfactuals):
    every = patch_residual(model, counterfactuals, roles=["last"])["last"]
    some = patch_residual(model, counterfactuals, roles=["last"], layers=[4, 1, 4])["last"]
    assert some.layers == (1, 4)
    np.testing.assert_array_equal(some.hits, every.hits[[1, 4]])


@pytest.mark.parametrize("layer", [-1, 6])
def test_a_layer_that_is_not_there(model, counterfactuals, layer):
    with pytest.raises(
        SiteError,
        match=rf"no layer {layer} to patch; this model has layers 0 to 4, and 5 stands for",
    ):
        patch_residual(model, counterfactuals, roles=["last"], layers=[layer])["last"]


def test_a_role_that_is_not_there(model, counterfactuals):
    with pytest.raises(AlignmentError, match="unknown role 'lsat'; the roles are last"):
        patch_residual(model, counterfactuals, roles=["lsat"])["lsat"]


def test_second_call_reads_what_the_first_stored(model, counterfactuals, monkeypatch):
    first = patch_residual(model, counterfactuals, roles=["last"], layers=[2])["last"]
    monkeypatch.setattr(
        "entrack.patching.residual_patching.answers_with", None
    )  # would fail if it were computed again
    again = patch_residual(model, counterfactuals, roles=["last"], layers=[2])["last"]
    np.testing.assert_array_equal(first.hits, again.hits)
    assert again.layers == first.layers and again.model == first.model
    with pytest.raises(TypeError):
        patch_residual(model, counterfactuals, roles=["last"], layers=[3])["last"]


def curve(*shares, floor=0.0, n=200):
    """A result whose share of expected answers per layer is `shares`."""
    expected = np.stack([np.arange(n) < share * n for share in shares])
    nothing = np.zeros(n, dtype=bool)
    return ResidualPatching(
        "position",
        "last",
        tuple(range(len(shares))),
        expected,
        ~expected,
        np.arange(n) < floor * n,
        nothing,
        nothing,
        "planted",
    )


def test_reading_a_curve():
    planted = curve(0.0, 0.1, 0.5, 0.6, 0.1, 0.0)
    assert planted.peak == 3 and planted.best.value == pytest.approx(0.6)
    assert planted.steepest == 1, "layer 1 makes the stream entering layer 2 what it is"
    assert planted.layers_carrying() == (2, 3)
    assert [round(s.value, 2) for s in planted.scores()] == [0.0, 0.1, 0.5, 0.6, 0.1, 0.0]


@pytest.mark.parametrize(
    "shares, carried",
    [
        ((0.5, 0.1, 0.6, 0.5, 0.1, 0.5), (2, 3)),
        ((0.6, 0.5, 0.1), (0, 1)),
        ((0.1, 0.5, 0.6), (1, 2)),
        ((0.6, 0.6, 0.6), (0, 2)),
    ],
)
def test_layers_that_carry_lie_together_around_the_best(shares, carried):
    assert curve(*shares).layers_carrying() == carried


def test_the_best_of_many_layers_must_be_clearly_above_the_floor():
    """Six of 84 more at the best layer: a sign test gives 0.03, which is not below 0.05 divided by
    three layers.
    """
    seven, thirteen, fifteen = 6.5 / 84, 12.5 / 84, 14.5 / 84
    assert curve(seven, thirteen, seven, floor=seven, n=84).layers_carrying() is None
    assert curve(seven, fifteen, seven, floor=seven, n=84).layers_carrying() == (1, 1)


def test_a_curve_at_its_floor_carries_nothing():
    assert curve(0.14, 0.15, 0.13, floor=0.14).layers_carrying() is None

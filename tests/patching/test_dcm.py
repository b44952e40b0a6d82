"""Masks over heads: gradients, ends, a model in which the right heads are known, and what is
refused.
"""

import dataclasses

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close, finite_differences
from hooked import hooked_logits
from tiny_models import tiny_model

from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.patching.dcm import PUBLISHED, learn_masks, target_logit
from entrack.patching.group_patching import Prepared, answers_with
from entrack.patching.masks import DCMConfig, MaskPath, Masks
from entrack.patching.patches import Patch
from entrack.sites import GROUPS, Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals

pytestmark = pytest.mark.usefixtures("own_cache")

HEADS = (Head(1, 0), Head(1, 3), Head(3, 2))
QUICK = DCMConfig(penalties=(0.05, 5.0), steps=10, batch=7, seeds=(0, 1))


@pytest.fixture(scope="module")
def data():
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(2, split="discovery"))


@pytest.fixture(scope="module")
def held_out():
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(2, split="pruning"))


def circuit(**groups):
    return Circuit({name: tuple(groups.get(name, ())) for name in GROUPS}, "tiny")


def in_suffix_order(data, role):
    return sorted(
        range(len(data)), key=lambda i: int(data.base.at("last")[i] - data.base.at(role)[i])
    )


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_ends_and_blends_of_the_mask_are_activation_patching(any_model, data, role):
    """W = 1 is the plain base, W = 0 the patched one, W = 0.3 the blend of both, each by hooks in
    whole passes.
    """
    prepared = Prepared(any_model, data, "label")
    weights = torch.tensor([[1.0] * 3, [0.0] * 3, [0.3] * 3])
    found = target_logit(
        prepared, range(len(data)), heads=HEADS, role=role, weights=weights, target="position"
    )
    order = in_suffix_order(data, role)
    wanted = data.alternatives["position"][order]
    columns = []
    for weight in (0.0, 1.0, 0.7):
        logits = hooked_logits(any_model, data, role=role, heads=HEADS, weight=weight)[order]
        columns.append(logits.gather(1, wanted[:, None])[:, 0])
    expected = torch.stack(columns, 1)
    terms = additions(any_model, data.base.tokens.shape[1])
    assert_close(found, expected, terms=terms)
    # The two ends and the blend between them are three different things.
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert_apart(expected[:, i], expected[:, j], terms=terms)


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_gradients_match_finite_differences(model, data, role):
    prepared = Prepared(model, data)

    def loss(weights):
        return (
            target_logit(
                prepared, range(7), heads=HEADS, role=role, weights=weights, target="object"
            )
            .mean(0)
            .sum()
        )

    weights = torch.tensor([[0.2, 0.5, 0.8], [0.9, 0.4, 0.1]], requires_grad=True)
    loss(weights).backward()
    step = 0.03
    numeric = finite_differences(loss, weights.detach(), step)
    # The rounding of the logits, over the step, is what the difference cannot see through; each
    # weight moves the logits of one of the two rows, which are half of the loss.
    assert_close(
        weights.grad,
        numeric,
        terms=additions(model, data.base.tokens.shape[1]),
        magnitude=loss(weights.detach()) / 2 / step,
        unlike=torch.zeros_like(numeric),
    )


def planted(alive):
    """A model in which only the heads of `alive` write anything, and these loudly; its MLPs are
    silent.
    """
    model = tiny_model(seed=3)
    keep = torch.zeros(model.n_layers, model.n_heads, dtype=torch.bool)
    for head in alive:
        keep[head.layer, head.head] = True
    for layer, block in enumerate(model.layers.blocks):
        block.mlp.down_proj.weight.zero_()
        block.self_attn.o_proj.weight.mul_(8 * keep[layer].repeat_interleave(model.d_head)[None])
    return dataclasses.replace(model, digest=f"planted-{alive}")


def answering_as(model, data, role, heads):
    """The pairs, their expected answer being what the model says with `heads` patched."""
    return dataclasses.replace(
        data, answers=answers_with(Prepared(model, data), patches=[Patch(role, heads)])[0]
    )


@pytest.mark.parametrize("group", ["value_fetcher", "position_detector"])
def test_the_one_head_that_can_help_is_found_and_no_other(data, held_out, group):
    right, role = Head(1, 2), GROUPS[group].role
    idle = (Head(1, 0), Head(2, 1), Head(3, 0), Head(4, 3))
    # Away from the last token, a head that is no member of the group must take the change there.
    model = planted([right] if role == "last" else [right, Head(3, 1)])
    train, validation = (
        Prepared(model, answering_as(model, d, role, (right,))) for d in (data, held_out)
    )
    plain = answers_with(validation, patches=[Patch(role)])[0]
    assert (plain != validation.data.answers).any(), (
        "the planted head must change an answer, else nothing is tested"
    )
    masks = learn_masks(
        model,
        train,
        validation=validation,
        circuit=circuit(**{group: sorted((right, *idle))}),
        group=group,
        target="label",
        config=dataclasses.replace(QUICK, penalties=(0.001,), slack=0.0),
    )
    assert masks.agreed() == (right,)
    assert masks.stability() == 1.0
    assert all(path.validation.max() == 1.0 for path in masks.paths)
    # Heads that write nothing have no gradient but the penalty's, and so stay as they are.
    assert all(
        (np.delete(path.weights, masks.heads.index(right), axis=1) == 1).all()
        for path in masks.paths
    )


def test_of_two_live_heads_the_one_that_hurts_is_left_alone(data, held_out):
    helps, live = Head(3, 2), Head(3, 1)
    model = planted([helps, live])
    train, validation = (
        Prepared(model, answering_as(model, d, "last", (helps,))) for d in (data, held_out)
    )
    both = answers_with(validation, patches=[Patch("last", (helps, live))])[0]
    assert (both != validation.data.answers).any(), (
        "patching the other head too must change an answer, else nothing is tested"
    )
    masks = learn_masks(
        model,
        train,
        validation=validation,
        circuit=circuit(value_fetcher=[live, helps]),
        group="value_fetcher",
        target="label",
        config=dataclasses.replace(QUICK, penalties=(0.001,), slack=0.0),
    )
    assert masks.agreed() == (helps,)


def test_a_price_above_every_gain_patches_nothing(model, data, held_out):
    config = dataclasses.replace(QUICK, penalties=(1e4,))
    masks = learn_masks(
        model,
        Prepared(model, data),
        validation=Prepared(model, held_out),
        circuit=circuit(value_fetcher=HEADS),
        group="value_fetcher",
        target="position",
        config=config,
    )
    assert masks.agreed() == ()
    assert all((path.weights == 1).all() and len(path.noted) == 1 for path in masks.paths)


def test_a_penalty_learned_beside_others_is_learned_as_alone(model, data, held_out):
    group = circuit(value_fetcher=HEADS)
    options = {
        "validation": Prepared(model, held_out),
        "circuit": group,
        "group": "value_fetcher",
        "target": "object",
    }
    together = learn_masks(model, Prepared(model, data), config=QUICK, **options)
    for index, penalty in enumerate(QUICK.penalties):
        alone = learn_masks(
            model,
            Prepared(model, data),
            config=dataclasses.replace(QUICK, penalties=(penalty,)),
            **options,
        )
        for a, b in zip(together.paths, alone.paths, strict=True):
            # Adam divides a gradient by its size, so that each step may carry its rounding on.
            assert_close(
                a.weights[index],
                b.weights[0],
                terms=QUICK.steps * additions(model, 60),
                magnitude=1.0,
            )


def test_a_seed_is_learned_once_whatever_other_seeds_and_choices_are_asked_for(
    model, data, held_out, monkeypatch
):
    """Interrupted at seed 1, the search goes on there; more seeds learn only those; another choice
    among masks learns nothing; another price learns all anew.
    """
    learned, stop = [], [True]

    class Counted(torch.optim.Adam):
        """One optimiser is made for each seed that is learned."""

        def __init__(self, *args, **options):
            if len(learned) == 1 and stop:
                stop.clear()
                raise KeyboardInterrupt
            learned.append(1)
            super().__init__(*args, **options)

    monkeypatch.setattr(torch.optim, "Adam", Counted)

    def masks(**changes):
        return learn_masks(
            model,
            Prepared(model, data),
            validation=Prepared(model, held_out),
            circuit=circuit(value_fetcher=HEADS),
            group="value_fetcher",
            target="object",
            config=dataclasses.replace(QUICK, **changes),
        )

    with pytest.raises(KeyboardInterrupt):
        masks(seeds=(0, 1))
    assert len(learned) == 1
    first = masks(seeds=(0, 1))
    assert len(learned) == 2
    more = masks(seeds=(1, 2, 0))
    assert len(learned) == 3
    np.testing.assert_array_equal(more.paths[0].weights, first.paths[1].weights)
    np.testing.assert_array_equal(more.paths[2].weights, first.paths[0].weights)
    masks(seeds=(0, 1), prefer="more", slack=3.0)
    assert len(learned) == 3
    masks(seeds=(0, 1), penalties=(0.5,))
    assert len(learned) == 5


def test_the_choice_among_equals_follows_the_setting():
    path = MaskPath(
        weights=np.ones((1, 3)),
        noted=np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool),
        validation=np.array([0.1, 0.5, 0.5, 0.5]),
        penalty=np.array([-1, 0, 0, 0]),
    )
    assert path.chosen(dataclasses.replace(QUICK, slack=0.0), 100) == 1
    assert path.chosen(PUBLISHED, 100) == 3
    close = dataclasses.replace(path, validation=np.array([0.1, 0.46, 0.5, 0.4]))
    assert (
        close.chosen(dataclasses.replace(QUICK, slack=1.0), 100) == 1
    )  # 0.46 is within 0.05 of the best
    assert close.chosen(dataclasses.replace(QUICK, slack=0.0), 100) == 2


def test_agreement_and_stability_of_seeds():
    def path(mask):
        return MaskPath(
            np.ones((1, 3)),
            np.array([[0, 0, 0], mask], dtype=bool),
            np.array([0.0, 1.0]),
            np.array([-1, 0]),
        )

    masks = Masks(
        "value_fetcher",
        "object",
        HEADS,
        (path([1, 1, 0]), path([1, 0, 0]), path([1, 0, 1])),
        50,
        QUICK,
    )
    assert masks.agreed() == (HEADS[0],)
    assert masks.frequency(HEADS[1]) == pytest.approx(1 / 3)
    assert masks.stability() == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    sizes, scores = masks.curve()
    assert sizes.tolist() == [0, 0, 0, 1, 2, 2] and scores.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.isnan(dataclasses.replace(masks, paths=masks.paths[:1]).stability())


def test_bad_requests_are_refused(model, data, held_out):
    with pytest.raises(ConfigError, match=r"penalty -0\.1; it is a price, 0 or more"):
        DCMConfig(penalties=(0.1, -0.1))
    with pytest.raises(ConfigError, match="no seeds; at least one is needed"):
        DCMConfig(seeds=())
    with pytest.raises(ConfigError, match="steps 0; allowed are 1 and more"):
        DCMConfig(steps=0)
    with pytest.raises(ConfigError, match="prefer 'all'; allowed are 'fewer' and 'more'"):
        DCMConfig(prefer="all")
    options = {"validation": Prepared(model, held_out), "config": QUICK}
    with pytest.raises(
        SiteError, match="the group value_fetcher of this circuit is empty; a mask needs a head"
    ):
        learn_masks(
            model,
            Prepared(model, data),
            circuit=circuit(),
            group="value_fetcher",
            target="object",
            **options,
        )
    with pytest.raises(SiteError, match=r"no head 7\.1; this model has 5 layers"):
        learn_masks(
            model,
            Prepared(model, data),
            circuit=circuit(value_fetcher=[Head(7, 1)]),
            group="value_fetcher",
            target="object",
            **options,
        )
    with pytest.raises(
        ConfigError,
        match="no candidate 'colour'; these pairs have label, unchanged, object, position",
    ):
        learn_masks(
            model,
            Prepared(model, data),
            circuit=circuit(value_fetcher=HEADS),
            group="value_fetcher",
            target="colour",
            **options,
        )

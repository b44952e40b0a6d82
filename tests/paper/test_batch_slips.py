"""Places of other prompts: against hooks in whole passes, and no slip at all where the places are
the same.
"""

import dataclasses

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from hooked import hooked_logits
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.cross_model.cells import group_cell
from entrack.cross_model.cmap import cross_patch
from entrack.errors import ConfigError, SiteError
from entrack.model.hooks import TraceDict
from entrack.paper.batch_slips import (
    cmap_in_batch,
    dcm_validation_batch,
    q_handed_over,
    read_elsewhere,
)
from entrack.patching.dcm import PUBLISHED
from entrack.patching.group_patching import Prepared, answers_with
from entrack.patching.masks import MaskPath, Masks
from entrack.patching.patches import Patch
from entrack.sites import Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import all_queries, examples, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

ROLE = "prev_query_label"
GROUP = (Head(0, 3), Head(1, 0), Head(2, 2))


@pytest.fixture(scope="module")
def pairs():
    """Training and validation pairs."""
    return [
        encode_counterfactuals(tiny_model().tokenizer, interchanges(3, split=s))
        for s in ("discovery", "validation")
    ]


def masks_of(validation_scores):
    noted = np.array([[False, False, False], [True, False, False], [True, True, False]])
    path = MaskPath(
        weights=np.zeros((1, 3)),
        noted=noted,
        validation=np.array(validation_scores),
        penalty=np.array([-1, 0, 0]),
    )
    return Masks(
        group="structure_reader",
        target="position",
        heads=GROUP,
        paths=(path, path),
        n_validation=21,
        config=PUBLISHED,
    )


def test_only_the_role_moves_and_always_to_a_place_of_a_drawn_pair(pairs):
    train, validation = pairs
    read = read_elsewhere(validation, train, role=ROLE)
    for ours, own, theirs in (
        (read.base, validation.base, train.base),
        (read.source, validation.source, train.source),
    ):
        assert sorted(ours.at(ROLE).tolist()) == sorted(theirs.at(ROLE).tolist())
        assert (ours.at(ROLE) != own.at(ROLE)).any()
        assert torch.equal(ours.tokens, own.tokens)
        assert all(torch.equal(ours.at(role), own.at(role)) for role in own.roles if role != ROLE)
    # Base and source come from one pair.
    both = set(zip(train.base.at(ROLE).tolist(), train.source.at(ROLE).tolist(), strict=True))
    assert set(zip(read.base.at(ROLE).tolist(), read.source.at(ROLE).tolist(), strict=True)) <= both
    few = read_elsewhere(validation, train.subset([4]), role=ROLE)
    assert set(few.base.at(ROLE).tolist()) == {int(train.base.at(ROLE)[4])}


def test_places_behind_the_end_are_refused(pairs):
    short = encode_counterfactuals(
        tiny_model().tokenizer, interchanges(2, split="validation", n_boxes=3)
    )
    with pytest.raises(
        ConfigError,
        match=(
            r"prev_query_label at token \d+ of a prompt of \d+ tokens; places of other prompts must"
            r" lie inside"
        ),
    ):
        read_elsewhere(short, pairs[0], role=ROLE)


def test_validation_at_other_places_equals_hooks_there(model, pairs):
    train, validation = pairs
    masks = masks_of([0.0, 0.1, 0.2])
    kept, heads = dcm_validation_batch(
        masks, Prepared(model, train), validation=Prepared(model, validation), role=ROLE
    )
    read = read_elsewhere(validation, train, role=ROLE)
    for estimate, data in ((kept.off, validation), (kept.on, read)):
        answers = hooked_logits(model, data, role=ROLE, heads=GROUP).argmax(-1)
        assert estimate.value == pytest.approx(
            (answers == validation.alternatives["unchanged"]).double().mean().item()
        )
    logits = [
        hooked_logits(model, read, role=ROLE, heads=chosen or GROUP, weight=float(bool(chosen)))
        for chosen in ((), GROUP[:1], GROUP[:2])
    ]
    scores = np.array(
        [
            (found.argmax(-1) == validation.alternatives["position"]).double().mean().item()
            for found in logits
        ]
    )
    assert heads.off.value == pytest.approx(2 / 3) and heads.on.value == pytest.approx(
        int(scores.argmax()) / 3
    )
    assert heads.counted and kept.off.n == 21


def test_validation_at_the_own_places_is_no_slip(model, pairs):
    one = pairs[1].subset([2])
    prepared = Prepared(model, one)
    sets = [Patch(ROLE, GROUP[:n]) for n in range(3)]
    scores = (answers_with(prepared, patches=sets) == one.alternatives["position"]).double().mean(1)
    slips = dcm_validation_batch(
        masks_of(scores.tolist()), prepared, validation=prepared, role=ROLE
    )
    assert [slip.change.value for slip in slips] == [0, 0]
    with pytest.raises(ConfigError, match="no candidate 'colour'"):
        dcm_validation_batch(
            dataclasses.replace(masks_of([0, 0, 0]), target="colour"),
            prepared,
            validation=prepared,
            role=ROLE,
        )


def hooked_q(donor, receiver, prompts, *, heads, places):
    """Log probability of the answers in whole passes with the donor's q of `heads` at `places` of
    every example.
    """
    sites = [receiver.site(layer, "q_proj") for layer in sorted({h.layer for h in heads})]
    with torch.no_grad():
        with TraceDict(donor.hf, sites) as traces:
            donor.hf(prompts.tokens)

        def put(own, layer):
            new, given = (
                x.clone().unflatten(-1, (receiver.n_heads, receiver.d_head))
                for x in (own, traces[layer].output)
            )
            for head in (h.head for h in heads if receiver.site(h.layer, "q_proj") == layer):
                new[:, places, head] = given[:, places, head]
            return new.flatten(-2)

        with TraceDict(receiver.hf, sites, edit_output=put):
            logits = receiver.hf(prompts.tokens).logits
    rows = torch.arange(len(prompts))
    return logits[rows, prompts.at("last")].log_softmax(-1)[rows, prompts.answers].numpy()


def rounding(donor, receiver, prompts):
    """What log probabilities after a pass of each model may be apart."""
    return {
        "terms": 2 * additions(receiver, prompts.tokens.shape[1]),
        "magnitude": torch.cat([last_logits(m, prompts).abs() for m in (donor, receiver)]),
    }


@pytest.mark.parametrize("kind", ["mha", "gqa"])
def test_queries_at_the_places_of_the_batch_equal_hooks_there(kind):
    donor, receiver = fine_tuned(kind), tiny_model(kind)
    prompts = encode(receiver.tokenizer, all_queries(scenes(2, split="evaluation")))
    _, log_prob = q_handed_over(donor, receiver, prompts, heads=GROUP, role=ROLE, batch=7)
    places = sorted(set(prompts.at(ROLE).tolist()))
    assert len(places) == 7
    same = rounding(donor, receiver, prompts)
    everywhere = hooked_q(donor, receiver, prompts, heads=GROUP, places=places)
    assert_close(log_prob[1], everywhere, unlike=log_prob[0], **same)
    for index in (0, 5, 9):
        alone = prompts.subset([index])
        own = hooked_q(donor, receiver, alone, heads=GROUP, places=alone.at(ROLE).tolist())
        assert_close(log_prob[0][index], own[0], **same)


def test_queries_at_the_own_place_are_those_of_cross_patching():
    donor, receiver = fine_tuned(), tiny_model()
    prompts = encode(receiver.tokenizer, all_queries(scenes(2, split="evaluation")))
    cell = group_cell(CIRCUIT, "D", inputs="q")
    theirs = cross_patch(donor, receiver, prompts, cells=[cell])
    role, heads = CIRCUIT.role("structure_reader"), HEADS["structure_reader"]
    hits, log_prob = q_handed_over(donor, receiver, prompts, heads=heads, role=role, batch=7)
    assert_close(
        log_prob[0],
        theirs.log_prob[0],
        unlike=theirs.own_log_prob,
        **rounding(donor, receiver, prompts),
    )
    slip = cmap_in_batch(donor, receiver, circuit=CIRCUIT, n_scenes=2)
    assert slip.off.value == theirs.accuracy(cell.label).value and slip.on.value == hits[1].mean()


def test_a_batch_of_one_and_a_donor_that_is_the_receiver_are_no_slip():
    donor, receiver = fine_tuned(), tiny_model()
    prompts = encode(receiver.tokenizer, all_queries(scenes(1, split="evaluation")))
    _, single = q_handed_over(donor, receiver, prompts, heads=GROUP, role=ROLE, batch=1)
    assert_close(single[0], single[1], **rounding(donor, receiver, prompts))
    _, same = q_handed_over(receiver, receiver, prompts, heads=GROUP, role=ROLE, batch=7)
    assert_close(same[0], same[1], **rounding(receiver, receiver, prompts))


def test_prompts_and_heads_that_cannot_be_are_refused():
    donor, receiver = fine_tuned(), tiny_model()
    mixed = encode(
        receiver.tokenizer,
        examples(1, split="evaluation") + examples(1, split="evaluation", n_boxes=3),
    )
    with pytest.raises(
        ConfigError,
        match=(
            r"prompts of \[\d+, \d+\] tokens; places are shared within a batch, so all must have"
            r" one length"
        ),
    ):
        q_handed_over(donor, receiver, mixed, heads=GROUP, role=ROLE, batch=2)
    with pytest.raises(SiteError, match=r"no head 9\.0; this model has 5 layers"):
        q_handed_over(donor, receiver, mixed.subset([0]), heads=[Head(9, 0)], role=ROLE, batch=1)

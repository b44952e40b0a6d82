"""Masks that a version learns for itself: those of `learn_masks`, patched beside base's."""

import pytest
from tiny_models import CIRCUIT, HEADS, tiny_model

from entrack.circuit.contents import CONTENT
from entrack.circuits import Circuit
from entrack.heads.own_masks import own_masks
from entrack.patching.dcm import learn_masks
from entrack.patching.group_patching import Prepared, patch_pairs
from entrack.patching.masks import DCMConfig
from entrack.patching.patches import Patch
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals

pytestmark = pytest.mark.usefixtures("own_cache")

QUICK = DCMConfig(penalties=(0.05,), steps=6, batch=7, seeds=(0,), learning_rate=0.3)
FIRST = {group: HEADS[group][:1] for group in CONTENT}


def pairs(split, n=1):
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(n, split=split))


def learned(circuit=CIRCUIT):
    return own_masks(
        tiny_model(),
        pairs("discovery"),
        validation=pairs("pruning"),
        test=pairs("evaluation", 2),
        circuit=circuit,
        given=FIRST,
        config=QUICK,
    )


def test_each_group_learns_for_its_own_content_and_is_patched_at_its_own_token():
    found, model = learned(), tiny_model()
    assert found.groups == list(CONTENT)
    for group, target in CONTENT.items():
        alone = learn_masks(
            model,
            Prepared(model, pairs("discovery")),
            validation=Prepared(model, pairs("pruning")),
            circuit=CIRCUIT,
            group=group,
            target=target,
            config=QUICK,
        )
        assert found.taken(group) == alone.agreed() and found.masks[group].target == target
        role = CIRCUIT.role(group)
        by_hand = {
            "own": Patch(role, alone.agreed()),
            "given": Patch(role, FIRST[group]),
            "all": Patch(role, HEADS[group]),
        }
        answers = patch_pairs(model, pairs("evaluation", 2), patches=by_hand)
        for which in by_hand:
            assert found.above(group, which) == answers.above_floor(which, target)
        if found.taken(group) != FIRST[group]:
            own, given = (answers.hits(which, target).mean() for which in ("own", "given"))
            assert found.beyond(group, "given").value == pytest.approx(own - given)


def test_the_same_heads_differ_by_exactly_nothing():
    found = learned()
    group = "value_fetcher"
    found.tested.patches[f"{group} given"] = found.tested.patches[f"{group} own"]
    same = found.beyond(group, "given")
    assert (same.value, same.low, same.high, same.n) == (0, 0, 0, 14)


def test_groups_without_heads_learn_nothing():
    found = learned(Circuit({**HEADS, "position_detector": ()}, "tiny"))
    assert found.groups == ["value_fetcher", "position_transmitter"]
    assert not [name for name in found.tested.patches if name.startswith("position_detector")]

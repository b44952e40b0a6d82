"""A mask for each wording: what is learned from, which pairs are tested, and what is not run."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import CIRCUIT, HEADS, tiny_model

from entrack.circuit.contents import whole_groups
from entrack.circuit.wordings import CONTROL, Wording, patch_wording
from entrack.heads import worded_masks as module
from entrack.heads.worded_masks import WordedMasks, first_scenes, pooled, worded_masks
from entrack.patching.masks import MaskPath, Masks
from entrack.patching.patches import Patch, Patched
from entrack.task.counterfactual_pairs import expected_candidate

pytestmark = pytest.mark.usefixtures("own_cache")

B, C = "position_transmitter", "position_detector"
WORDING = "add_seg_end"
PATCHES = whole_groups(CIRCUIT, B, C)


def fixed(n=3):
    return patch_wording(tiny_model(), WORDING, patches=PATCHES, n_scenes=n)


def masks(group, chosen):
    """Masks of one seed that take the heads where `chosen` is true."""
    row = np.array([chosen])
    path = MaskPath(1.0 - row, row, np.array([1.0]), np.array([0]))
    return Masks(group, "position", HEADS[group], (path,), 7, module.FEW_STEPS)


@pytest.fixture
def taking(monkeypatch):
    """Sets which heads the masks of each group take; collects how they were learned."""
    calls, chosen = [], {B: (True, True), C: (False, False)}

    def learn(model, train, *, validation, group, target, config, circuit):
        calls.append((train, validation, group, target, config))
        return masks(group, chosen[group])

    monkeypatch.setattr(module, "learn_masks", learn)
    return chosen, calls


def learned(n_test=2, plain=None):
    return worded_masks(
        tiny_model(), plain or fixed(), circuit=CIRCUIT, n_learn=1, n_test=n_test, seed=0
    )


def test_masks_learn_from_the_wording_and_on_other_scenes_than_are_tested(taking):
    _, calls = taking
    plain = fixed()
    learned(plain=plain)
    assert [call[2] for call in calls] == [B, C]
    train, validation, _, target, config = calls[0]
    assert target == expected_candidate(WORDING) == train.expected_candidate
    assert config.penalties == (0.01,) and config.prefer == "more" and config.slack == 0
    assert len(train.data) == len(validation.data) == 7
    # An extra segment at the end makes the sources longer than their bases.
    assert (train.data.source.lengths > train.data.base.lengths).all()
    texts = [set(part.data.base.texts) for part in (train, validation)]
    tested = {pair.base.text for pair in plain.pairs}
    assert not texts[0] & texts[1] and not tested & (texts[0] | texts[1])


def test_a_mask_of_all_or_none_is_not_run_again(taking, monkeypatch):
    plain = fixed()
    monkeypatch.setattr(module, "patch_pairs", None)
    found = learned(plain=plain)
    assert found.taken(B) == HEADS[B] and found.taken(C) == ()
    answers, part = found.wording.patched, first_scenes(plain, 2).patched
    assert len(answers.unpatched) == len(found.wording.pairs) == 14
    assert (answers.answers[list(answers.patches).index(f"{B} mask")] == part.answers[0]).all()
    assert (answers.answers[list(answers.patches).index(f"{C} mask")] == part.unpatched).all()
    assert not found.beyond(B).any() and found.above(C).value == 0


def test_a_mask_of_some_heads_is_patched_on_the_same_pairs(taking):
    chosen, _ = taking
    chosen[C] = (False, True)
    found = learned()
    by_hand = patch_wording(
        tiny_model(), WORDING, patches={"some": Patch("query_label", HEADS[C][1:])}, n_scenes=2
    )
    assert found.above(C) == by_hand.above("some")
    answers = found.wording.patched
    row = answers.answers[list(answers.patches).index(f"{C} mask")]
    assert (row == by_hand.patched.answers[0]).all()
    # The group beside it, and the pairs themselves, are those that were there.
    assert found.wording.above(C) == first_scenes(fixed(), 2).above(C)


def test_learned_for_real_a_mask_takes_heads_of_its_group():
    found = learned()
    assert found.groups == [B, C]
    for group in (B, C):
        assert set(found.taken(group)) <= set(HEADS[group])
        assert found.masks[group].target == expected_candidate(WORDING)


def one(name, mask_hits, all_hits):
    """Twelve pairs in four scenes; the first so many answer as expected."""
    expected = expected_candidate(name)
    answers = np.full((2, 12), 8)
    answers[0, :all_hits] = answers[1, :mask_hits] = 0
    patches = {B: Patch("last"), f"{B} mask": Patch("last", HEADS[B][:1])}
    patched = Patched(
        patches, {expected: np.zeros(12, int)}, answers, np.full(12, 9), np.arange(12) // 3, "m"
    )
    return WordedMasks({B: masks(B, (True, False))}, Wording(name, (), patched))


def test_pooled_is_the_mean_over_reworded_sources_and_over_scenes():
    plain, control = one("position", 0, 12), one(CONTROL, 12, 0)
    first, second = one("no_comma", 6, 9), one("add_seg_end", 6, 12)
    found = pooled([plain, control, first, second], B)
    assert found.value == pytest.approx((-3 - 6) / 24) and found.n == 24
    # Four scenes vary, not eight: twice the same wording tells nothing new.
    twice = pooled([first, first], B)
    assert twice.value == pooled([first], B).value
    assert twice.high - twice.low == pytest.approx(pooled([first], B).high - pooled([first], B).low)


def test_first_scenes_keep_whole_scenes():
    found = fixed()
    scenes = np.array([5] * 7 + [2] * 7 + [9] * 7)
    part = first_scenes(replace(found, patched=replace(found.patched, scenes=scenes)), 2)
    assert part.patched.scenes.tolist() == [5] * 7 + [2] * 7 and part.pairs == found.pairs[:14]

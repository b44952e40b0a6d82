"""Pairs of scenes in which object, position, label and no change are four different words."""

from collections import Counter

import pytest

from entrack.errors import TaskError
from entrack.task.boxes import NOUNS
from entrack.task.counterfactual_pairs import CANDIDATES, expected_candidate, interchanges
from entrack.task.desiderata import DESIDERATA


@pytest.fixture(scope="module")
def found():
    return interchanges(6, split="discovery")


def test_every_candidate_is_what_its_rule_says(found):
    for item in found:
        base, place = item.base, item.source.spans
        order = sorted((span, name) for name, span in place.items() if name.startswith("label_"))
        labels = [item.source.text[slice(*span)] for span, _ in order]
        asked = item.source.text[slice(*place["query_label"])]
        position = labels.index(asked)
        assert item.alternatives["position"] == base.scene.objects[position]
        assert item.answer == base.scene.objects[base.scene.labels.index(asked)]
        assert item.alternatives["object"] == item.source.answer
        assert item.alternatives["unchanged"] == base.answer
        assert len({item.answer, *item.alternatives.values()}) == 4


def test_candidates_carry_the_names_that_are_promised(found):
    assert {"label", *found[0].alternatives} == set(CANDIDATES)


def test_every_position_is_asked_for_once_per_scene_in_base_and_source(found):
    for lo in range(0, len(found), 7):
        pair = found[lo : lo + 7]
        assert [item.base.query for item in pair] == list(range(7))
        assert len({item.source.text[: item.source.spans["query_label"][0]] for item in pair}) == 1
        assert (
            len({item.source.text[slice(*item.source.spans["query_label"])] for item in pair}) == 7
        )


def test_labels_are_shared_in_another_order_and_objects_are_not(found):
    for item in found:
        shared = [item.source.text[slice(*item.source.spans[f"label_{i}"])] for i in range(7)]
        assert Counter(shared) == Counter(item.base.scene.labels)
        assert all(
            ours != theirs for ours, theirs in zip(item.base.scene.labels, shared, strict=True)
        )
        assert not {
            item.source.text[slice(*item.source.spans[f"object_{i}"])] for i in range(7)
        } & set(item.base.scene.objects)


def test_splits_share_no_base(found):
    others = interchanges(6, split="evaluation")
    assert not {item.base.text for item in found} & {item.base.text for item in others}
    assert {item.base.scene.split for item in others} == {"evaluation"}


def test_fewer_scenes_are_the_beginning_and_a_seed_changes_them(found):
    assert interchanges(2, split="discovery") == found[:14]
    assert interchanges(2, split="discovery", seed=1) != found[:14]


def test_the_expected_answer_has_a_name():
    assert {expected_candidate(name) for name in ("position", "no_comma", "add_seg_start")} == {
        "position"
    }
    assert [
        expected_candidate(name)
        for name in ("object", "label", "incorrect_segment", "filler_after")
    ] == ["object", "label", "next_position", "ordinal"]
    for name in DESIDERATA:
        assert (
            expected_candidate(name)
            not in interchanges(3, split="discovery", name=name)[0].alternatives
        )


def asked(item):
    """Labels of the source in order, and the one that is asked for."""
    spans = item.source.spans
    return [item.source.text[slice(*spans[f"label_{i}"])] for i in range(7)], item.source.text[
        slice(*spans["query_label"])
    ]


SHIFTED = (
    "add_seg_start",
    "incorrect_segment",
)  # they expect the object of a box that is not the one asked for


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shifted_answer_is_another_word_too(name):
    for item in interchanges(6, split="discovery", name=name):
        assert len({item.answer, *item.alternatives.values()}) == 1 + len(item.alternatives)


@pytest.mark.parametrize(
    "name", [n for n, d in DESIDERATA.items() if not d.filler and n not in SHIFTED]
)
def test_desiderata_of_one_position_ask_the_same_questions(found, name):
    others = interchanges(6, split="discovery", name=name)
    assert [item.base for item in others] == [item.base for item in found]
    assert [asked(item) for item in others] == [asked(item) for item in found]
    assert [item.source.answer for item in others] == [item.source.answer for item in found]


@pytest.mark.parametrize("name", [n for n, d in DESIDERATA.items() if d.filler])
def test_filler_keeps_the_rivals_apart(name):
    found = interchanges(10, split="discovery", name=name)
    assert len(found) >= 40 and {item.base.query for item in found} == set(range(7))
    for item in found:
        assert len({item.answer, *item.alternatives.values()}) == 1 + len(item.alternatives)
        labels, label = asked(item)
        assert item.answer == item.base.scene.objects[labels.index(label)]
        assert (
            item.alternatives["label"]
            == item.base.scene.objects[item.base.scene.labels.index(label)]
        )


def test_three_boxes_are_enough_and_two_are_not():
    assert len(interchanges(4, split="pruning", n_boxes=3)) == 12
    with pytest.raises(
        TaskError,
        match=(
            "n_boxes 2; an interchange needs 3 or more to keep its four answers apart. Use more"
            " boxes."
        ),
    ):
        interchanges(1, split="pruning", n_boxes=2)


def test_too_few_words_are_named():
    with pytest.raises(
        TaskError,
        match="a list of 8 words; base and source need 14 different objects. Give more words.",
    ):
        interchanges(1, split="discovery", words=NOUNS[:8])

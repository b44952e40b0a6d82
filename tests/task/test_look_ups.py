"""Scenes told as look-ups in code: the same words in the same order, each found as a token."""

import pytest
from tokenizers_for_tests import make_tokenizer

from entrack.errors import TaskError
from entrack.task.boxes import LABELS, Example, Scene
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.draws import examples, pairs
from entrack.task.look_ups import as_look_up
from entrack.task.prompts import encode

SCENE = Scene(("apple", "coin", "key"), ("F", "C", "B"))
TOLD = "echo apple > f\necho coin > c\necho key > b\ncat c # prints"
MORE = ("prints", *(label.lower() for label in LABELS))


def test_a_scene_is_told_line_by_line():
    told = as_look_up(Example(SCENE, 1))
    assert told.text == TOLD and told.answer == "coin"
    words = {name: told.text[slice(*span)] for name, span in told.spans.items()}
    assert words["query_label"] == words["prev_query_label"] == "c"
    assert (words["correct_object"], words["last"]) == ("coin", "prints")
    assert [words[f"object_{i}"] for i in range(3)] == list(SCENE.objects)
    assert told.spans["query_label"][0] > told.spans["prev_query_label"][0]


def test_a_corrupt_question_names_a_label_that_was_not_told():
    told = as_look_up(pairs(1, split="discovery")[0].corrupt)
    *lines, question = told.text.split("\n")
    asked = question.split()[1]
    assert asked not in {line.split()[-1] for line in lines}
    assert told.spans["prev_query_label"] in {told.spans[f"label_{i}"] for i in range(7)}


def test_a_text_of_boxes_is_told_as_its_example_would_be():
    item = interchanges(1, split="evaluation")[0]
    words = item.source.spans
    scene = Scene(
        tuple(item.source.text[slice(*words[f"object_{i}"])] for i in range(7)),
        tuple(item.source.text[slice(*words[f"label_{i}"])] for i in range(7)),
    )
    query = scene.objects.index(item.source.answer)
    assert as_look_up(item.source) == as_look_up(Example(scene, query))


def test_roles_are_tokens_of_their_words():
    tokenizer = make_tokenizer(more=MORE)
    asked = examples(7, split="evaluation")
    prompts = encode(tokenizer, [as_look_up(example) for example in asked])
    for i, example in enumerate(asked):
        pieces = prompts.pieces[i]
        told = {role: pieces[prompts.at(role)[i]].strip() for role in prompts.roles}
        label = example.question_label.lower()
        assert told["query_label"] == told["prev_query_label"] == label
        assert (told["correct_object"], told["last"]) == (example.answer, "prints")
        assert pieces[prompts.at("after_prev_query_label")[i]] == "\n"
    boxes = encode(tokenizer, asked)
    assert prompts.answers.tolist() == boxes.answers.tolist()


def test_a_last_word_of_several_tokens_is_refused():
    with pytest.raises(TaskError, match="'prints' is 6 tokens .* must be one"):
        encode(make_tokenizer(), [as_look_up(Example(SCENE, 1))])

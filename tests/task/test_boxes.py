"""The task's world: texts, splits, balance, corrupt prompts, and what is refused."""

import collections
import subprocess
import sys

import pytest

from entrack.errors import TaskError
from entrack.task.boxes import FORMATS, LABELS, NOUNS, SPLITS, Example, Scene
from entrack.task.draws import all_queries, examples, pairs, scenes

TWO = Scene(("apple", "coin"), ("F", "C"))
CONTAINERS = {
    "box",
    "bag",
    "basket",
    "bottle",
    "bowl",
    "bucket",
    "case",
    "cup",
    "jar",
    "mug",
    "pot",
    "purse",
    "wallet",
}


def test_the_texts_of_both_formats():
    alternative, standard = Example(TWO, 1), Example(TWO, 1, "standard")
    assert alternative.text == "The apple is in Box F, the coin is in Box C. Box C contains the"
    assert standard.text == "Box F contains the apple, Box C contains the coin. Box C contains the"
    for example in (alternative, standard):
        assert example.answer == "coin" and example.question_label == "C"
        assert example.question == " Box C contains the"
        assert example.context + example.question == example.text and example.context.endswith(".")


@pytest.mark.parametrize("format", FORMATS)
def test_the_spans_name_the_words(format):
    text = Example(TWO, 0, format).role_text()
    words = {name: text.text[start:end] for name, (start, end) in text.spans.items()}
    assert words == {
        "object_0": "apple", "label_0": "F", "object_1": "coin", "label_1": "C",
        "query_label": "F", "last": "the", "prev_query_label": "F", "correct_object": "apple",
    }  # fmt: skip
    assert text.spans["prev_query_label"] == text.spans["label_0"] < text.spans["query_label"]
    assert text.spans["last"][1] == len(text.text) and text.answer == "apple"


def test_a_foreign_label_changes_the_question_only():
    corrupt = Example(TWO, 1, query_label="Q").role_text()
    assert corrupt.text == "The apple is in Box F, the coin is in Box C. Box Q contains the"
    start, end = corrupt.spans["prev_query_label"]
    assert corrupt.text[start:end] == "C" and corrupt.answer == "coin"


def test_the_nouns_keep_their_rule():
    assert len(NOUNS) == len(set(NOUNS)) == 85
    assert all(word.isalpha() and word.islower() for word in NOUNS)
    assert not CONTAINERS & set(NOUNS)
    assert not any(word + "s" in NOUNS for word in NOUNS)
    assert len(LABELS) == 26


def test_splits_share_no_scene_whatever_the_seed():
    found = {split: set(scenes(200, split=split, seed=seed)) for seed, split in enumerate(SPLITS)}
    found |= {split: found[split] | set(scenes(200, split=split, seed=0)) for split in SPLITS}
    assert sum(map(len, found.values())) == len(set().union(*found.values()))
    assert all(scene.split == split for split, members in found.items() for scene in members)


def test_the_splits_are_of_equal_size():
    words, labels = NOUNS[:2], LABELS[:26]
    every = [Scene(words, (a, b)) for a in labels for b in labels if a != b]
    counts = collections.Counter(scene.split for scene in every)
    assert set(counts) == set(SPLITS) and min(counts.values()) > len(every) / 5 * 0.75


def test_the_order_of_the_boxes_belongs_to_the_content():
    reversed_ = [Scene(s.objects[::-1], s.labels[::-1]) for s in scenes(50, split="training")]
    assert {scene.split for scene in reversed_} == set(SPLITS)


def test_scenes_are_the_same_in_every_process():
    code = "from entrack.task.draws import scenes; print(repr(scenes(3, split='pruning', seed=4)))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": s},
        )
        for s in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout == repr(scenes(3, split="pruning", seed=4)) + "\n"


def test_these_scenes_never_change():
    """Stored results and adapters rest on them: a change of the drawing makes all of those
    worthless.
    """
    assert scenes(1, split="evaluation", n_boxes=3) == [
        Scene(("blanket", "glove", "trophy"), ("K", "E", "Q"))
    ]


def test_fewer_scenes_are_the_beginning_of_more():
    assert scenes(40, split="evaluation")[:15] == scenes(15, split="evaluation")
    assert scenes(15, split="evaluation", seed=1) != scenes(15, split="evaluation")


@pytest.mark.parametrize("n_boxes", [2, 7, 10])
def test_every_position_is_asked_for_equally_often(n_boxes):
    found = examples(5 * n_boxes, split="discovery", n_boxes=n_boxes)
    assert collections.Counter(e.query for e in found) == dict.fromkeys(range(n_boxes), 5)
    assert len({e.scene for e in found}) == 5 * n_boxes and all(
        e.scene.n_boxes == n_boxes for e in found
    )


def test_all_queries_go_scene_by_scene():
    two = scenes(2, split="training", n_boxes=3)
    assert [(e.scene, e.query) for e in all_queries(two)] == [(s, q) for s in two for q in range(3)]
    assert {e.format for e in all_queries(two, format="standard")} == {"standard"}


def test_other_words_can_be_used():
    words = ("wheelbarrow", "gramophone", "marble")
    assert {
        o for s in scenes(20, split="training", n_boxes=2, words=words) for o in s.objects
    } == set(words)


@pytest.mark.parametrize("n_boxes", [2, 7, 10])
def test_corrupt_prompts_tell_nothing(n_boxes):
    found = pairs(60, split="discovery", n_boxes=n_boxes)
    assert [p.clean for p in found] == examples(60, split="discovery", n_boxes=n_boxes)
    for pair in found:
        clean, corrupt = pair.clean, pair.corrupt
        assert corrupt.scene != clean.scene and corrupt.scene.split == "discovery"
        assert corrupt.query == (clean.query + 1) % n_boxes
        assert corrupt.question_label not in clean.scene.labels + corrupt.scene.labels


def test_as_published_letters_and_scenes_may_coincide():
    found = pairs(60, split="discovery", as_published=True)
    assert any(
        p.corrupt.question_label in p.clean.scene.labels + p.corrupt.scene.labels for p in found
    )
    assert any(
        p.corrupt.scene == p.clean.scene
        for p in pairs(400, split="discovery", as_published=True, n_boxes=2)
    )


def test_one_pair_has_a_scene_to_be_corrupted_by():
    (pair,) = pairs(1, split="pruning")
    assert pair.corrupt.scene != pair.clean.scene


UNKNOWN_SPLIT = (
    "unknown split 'test'; the splits are training, validation, discovery, pruning, evaluation. Use"
    " one of them."
)
BAD = {
    "n_boxes 1; a scene has 2 to 10 boxes. Choose a number in that range.": lambda: scenes(
        1, split="training", n_boxes=1
    ),
    "n_boxes 27; a scene has 2 to 10 boxes. Choose a number in that range.": lambda: examples(
        1, split="training", n_boxes=27
    ),
    "n_boxes 0; a scene has 2 to 10 boxes. Choose a number in that range.": lambda: Scene((), ()),
    "unknown format 'digits'; the formats are alternative, standard. Use one of them.": lambda: (
        Example(TWO, 0, "digits")
    ),
    UNKNOWN_SPLIT: lambda: scenes(1, split="test"),
    "n 0; at least one is needed. Ask for 1 or more.": lambda: pairs(0, split="training"),
    "query 2; the boxes of this scene are 0 to 1. Use one of them.": lambda: Example(TWO, 2),
    "box label 'f'; labels are single letters from A to Z. Use a capital letter.": lambda: Example(
        TWO, 0, query_label="f"
    ),
    "box label 'AA'; labels are single letters from A to Z. Use a capital letter.": lambda: Scene(
        ("apple", "coin"), ("AA", "B")
    ),
    "box label 'B' twice in one scene; all must differ. Use it once.": lambda: Scene(
        ("apple", "coin"), ("B", "B")
    ),
    "object 'coin' twice in one scene; all must differ. Use it once.": lambda: Scene(
        ("coin", "coin"), ("A", "B")
    ),
    (
        "a scene of 1 objects and 2 labels; every box holds one object. Give as many objects as"
        " labels."
    ): lambda: Scene(("coin",), ("A", "B")),
    "word 'coin' twice in the word list; all must differ. Remove one.": lambda: scenes(
        1, split="training", n_boxes=2, words=("coin", "hat", "coin")
    ),
    "a list of 2 words; 3 boxes need as many different objects. Give more words.": lambda: scenes(
        1, split="training", n_boxes=3, words=("coin", "hat")
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_words(message):
    with pytest.raises(TaskError) as error:
        BAD[message]()
    assert str(error.value) == message


def test_a_list_too_short_for_so_many_scenes_is_refused():
    with pytest.raises(
        TaskError, match=r"only \d+ of 2000 scenes; 2 words in 2 boxes do not give more in split"
    ):
        scenes(2000, split="training", n_boxes=2, words=("coin", "hat"))

"""Desiderata: every answer is worked out again here from the texts alone, and the paper's slips are
where they are said.
"""

import collections
import re

import pytest

from entrack.errors import TaskError
from entrack.task.boxes import FORMATS, NOUNS, Example, Scene
from entrack.task.desiderata import DESIDERATA, build, counterfactual
from entrack.task.draws import examples

PAPER = [name for name, d in DESIDERATA.items() if d.origin.startswith("paper")]
OURS = [name for name, d in DESIDERATA.items() if d.origin == "beyond the paper"]
UNCHANGED = ("object", "position", "label", "incorrect_segment")
BASE = Example(Scene(("hat", "coin", "fork", "lamp"), ("A", "B", "C", "D")), 3)
SOURCE = Example(Scene(("kite", "drum", "doll", "pen"), ("E", "B", "G", "H")), 1)


def read(text):
    """What a plain text says: [(label, object), ...] in its order, and the label it asks for."""
    context, question = text.rsplit(".", 1)
    label, thing = r"Box ([A-Z])\b", r"[Tt]he (\w+)"
    forms = [
        rf"{thing},? is (?:not )?(?:contained )?in (?:the )?{label}",
        rf"{label},? (?:contains|does not contain) (?:inside it )?{thing}",
    ]
    found = []
    for swap, form in enumerate(forms):
        for match in re.finditer(form, context):
            found.append((match.start(), match.groups()[:: -1 if swap == 0 else 1]))
    return [pair for _, pair in sorted(found)], re.search(label, question)[1]


def asked(text):
    """Ordinal of the queried box in a text, counting every box that holds something."""
    told, label = read(text)
    return [name for name, _ in told].index(label)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", DESIDERATA)
def test_the_answer_follows_from_the_texts(name, format):
    for item in build(name, 84, split="evaluation", format=format):
        base, question = read(item.base.text)
        source, label = read(item.source.text)
        place = asked(item.source.text)
        assert item.alternatives["unchanged"] == dict(base)[question]
        assert item.source.answer == dict(source)[label]
        assert len(base) == 7 and len(source) == 7 + name.startswith("add_seg")
        expected = base[(place + (name == "incorrect_segment")) % 7][1]
        if name in ("object", "label"):
            expected = dict(source if name == "object" else base)[label]
        assert item.answer == expected
        if name in OURS:
            assert item.alternatives["label"] == dict(base)[label]


@pytest.mark.parametrize("n_boxes", [5, 7, 10])
@pytest.mark.parametrize("name", DESIDERATA)
def test_all_candidates_are_different_words(name, n_boxes):
    for item in build(name, 3 * n_boxes, split="evaluation", n_boxes=n_boxes):
        words = [item.answer, *item.alternatives.values()]
        assert len(set(words)) == len(words)
        assert not {thing for _, thing in read(item.base.text)[0]} & {
            thing for _, thing in read(item.source.text)[0]
        }


@pytest.mark.parametrize("name", DESIDERATA)
def test_sources_ask_for_every_position_but_the_bases_own(name):
    queries = collections.defaultdict(set)
    for item in build(name, 7 * 7, split="discovery"):
        queries[item.base.query].add(asked(item.source.text) - name.startswith("add_seg_start"))
    allowed = {q: {s.query for s in DESIDERATA[name].settings(q, 7)} for q in range(7)}
    assert queries == allowed and all(q not in found for q, found in queries.items())
    if not DESIDERATA[name].filler and name not in ("add_seg_start", "incorrect_segment"):
        assert all(len(found) == 6 for found in queries.values())


@pytest.mark.parametrize("name", PAPER)
def test_base_and_source_positions_are_balanced(name):
    made = build(name, 7 * 6 * 4, split="discovery")
    counts = collections.Counter((item.base.query, asked(item.source.text)) for item in made)
    if len(counts) == 42:
        assert set(counts.values()) == {4}
    assert {item.base.query for item in made} == set(range(7))


@pytest.mark.parametrize("name", DESIDERATA)
def test_the_list_is_fixed_by_its_arguments(name):
    made = build(name, 30, split="pruning", seed=3)
    assert made == build(name, 30, split="pruning", seed=3)
    assert made[:12] == build(name, 12, split="pruning", seed=3)
    assert made != build(name, 30, split="pruning", seed=4)
    assert [item.base for item in made] == examples(30, split="pruning", seed=3)


@pytest.mark.parametrize("name", DESIDERATA)
def test_sources_stay_in_the_split(name):
    for split in ("training", "evaluation"):
        for item in build(name, 20, split=split):
            told = read(item.source.text)[0]
            told = told[name == "add_seg_start" : len(told) - (name == "add_seg_end")]
            labels, objects = zip(*told, strict=True)
            assert item.base.scene.split == split == Scene(objects, labels).split


def test_only_the_label_is_shared_where_it_must_be():
    for name, wanted in DESIDERATA.items():
        for item in build(name, 40, split="evaluation"):
            label = read(item.source.text)[1]
            assert (label in item.base.scene.labels) == wanted.shares_label


SOURCES = {
    "random_text_start": (
        "There are a bunch of boxes containing objects, the kite is in Box E, the drum is in Box B,"
        " the doll is in Box G, the pen is in Box H. Box B contains the"
    ),
    "random_text_end": (
        "The kite is in Box E, the drum is in Box B, the doll is in Box G, the pen is in Box H, "
        "these are a bunch of boxes containing objects. Box B contains the"
    ),
    "add_tokens_btw_box_and_obj": (
        "The kite is in Box E, the drum is contained in the Box B, the doll is in Box G, "
        "the pen is in Box H. Box B contains the"
    ),
    "add_seg_start": (
        "The apple is in Box O, the kite is in Box E, the drum is in Box B, the doll is in Box G, "
        "the pen is in Box H. Box B contains the"
    ),
    "add_seg_end": (
        "The kite is in Box E, the drum is in Box B, the doll is in Box G, the pen is in Box H, "
        "the apple is in Box O. Box B contains the"
    ),
    "add_box_before_correct_segment": (
        "The kite is in Box E, there are three additional boxes, Box PP, Box BB and Box AA, the"
        " drum is in Box B, the doll is in Box G, the pen is in Box H. Box B contains the"
    ),
    "altered_box_obj_order": (
        "The kite is in Box E, Box B contains the drum, the doll is in Box G, "
        "the pen is in Box H. Box B contains the"
    ),
    "altered_box_obj_association": (
        "The kite is in Box E, the drum is not in Box B, the doll is in Box G, "
        "the pen is in Box H. Box B contains the"
    ),
    "no_comma": (
        "The kite is in Box E the drum is in Box B the doll is in Box G the pen is in Box H. Box B"
        " contains the"
    ),
    "add_comma": (
        "The kite, is in Box E, the drum, is in Box B, the doll, is in Box G, the pen, is in Box H."
        " Box B contains the"
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_wording_of_the_variations(name):
    item = counterfactual(name, BASE, SOURCE)
    assert item.source.text == SOURCES[name]
    assert item.base.text == BASE.text
    assert item.answer == ("fork" if name == "add_seg_start" else "coin")


@pytest.mark.parametrize("name", UNCHANGED)
def test_the_others_keep_the_source(name):
    assert (
        counterfactual(name, Example(BASE.scene, 0), Example(BASE_LIKE, 2)).source.text
        == Example(BASE_LIKE, 2).text
    )


BASE_LIKE = Scene(("kite", "drum", "doll", "pen"), ("E", "F", "B", "H"))


def test_the_wording_of_the_interchanges():
    source = Example(Scene(("kite", "drum", "doll", "pen"), ("A", "E", "G", "H")), 0)
    base = Example(BASE.scene, 3)
    with pytest.raises(TaskError, match="would coincide"):
        counterfactual("filler_before", base, source, before=1)
    source = Example(Scene(("kite", "drum", "doll", "pen"), ("B", "E", "G", "H")), 0)
    item = counterfactual("filler_before", base, source, before=2)
    assert (
        item.source.text
        == "There is not much to see, there is not much to see, the kite is in Box B, the drum is"
        " in Box E, the doll is in Box G, the pen is in Box H. Box B contains the"
    )
    assert item.answer == "hat"
    assert item.alternatives == {
        "unchanged": "lamp",
        "object": "kite",
        "label": "coin",
        "token_from_start": "fork",
    }
    source = Example(Scene(("kite", "drum", "doll", "pen"), ("E", "G", "B", "H")), 2)
    item = counterfactual("filler_after", base, source, after=2)
    assert item.source.text.endswith(
        "in Box H, there is not much to see, there is not much to see. Box B contains the"
    )
    assert item.answer == "fork" and item.alternatives["token_from_end"] == "hat"


def test_boxes_reordered_keeps_the_labels_and_changes_their_order():
    for item in build("boxes_reordered", 40, split="evaluation"):
        labels = [label for label, _ in read(item.source.text)[0]]
        assert sorted(labels) == sorted(item.base.scene.labels) and labels != list(
            item.base.scene.labels
        )


def test_the_added_segment_collides_with_nothing():
    for name in ("add_seg_start", "add_seg_end"):
        for item in build(name, 200, split="evaluation"):
            told, _ = read(item.source.text)
            label, thing = told[0 if name == "add_seg_start" else -1]
            rest = [pair for pair in told if pair != (label, thing)]
            assert len(rest) == 7 and label not in dict(rest) and thing not in dict(rest).values()
            assert label not in item.base.scene.labels and thing not in item.base.scene.objects


@pytest.mark.parametrize("name", [name for name in PAPER if name != "label"])
def test_as_published_sources_never_ask_for_box_0_nor_b_or_t(name):
    for item in build(name, 400, split="evaluation", as_published=True):
        # The segment added at the start may bear the label that is asked for, so count the places
        # of the object.
        things = [thing for _, thing in read(item.source.text)[0]][name == "add_seg_start" :]
        assert things[0] != item.source.answer
        assert read(item.source.text)[1] not in "BT"


def test_as_published_one_pair_in_seven_shares_its_position():
    """The no-effect floor of the paper's position score, 13.4 %, comes from these."""
    made = build("position", 1400, split="evaluation", as_published=True)
    same = sum(item.answer == item.alternatives["unchanged"] for item in made) / len(made)
    assert 0.11 < same < 0.175
    assert any(
        set(dict(read(i.base.text)[0]).values()) & set(dict(read(i.source.text)[0]).values())
        for i in made
    )
    few = build("position", 40, split="evaluation", as_published=True)
    assert few == build("position", 500, split="evaluation", as_published=True)[:40]


def test_as_published_the_added_segment_does_not_move_the_answer():
    item = counterfactual("add_seg_start", BASE, SOURCE, as_published=True)
    assert item.answer == "coin" and item.source.text.startswith("The apple is in Box O, the kite")
    assert counterfactual("add_seg_start", BASE, SOURCE).alternatives["unshifted"] == "coin"


def test_as_published_the_label_is_scored_without_its_space():
    assert all(
        item.bare_answer for item in build("label", 20, split="evaluation", as_published=True)
    )
    assert not any(item.bare_answer for item in build("label", 20, split="evaluation"))
    for item in build("label", 50, split="evaluation", as_published=True):
        assert (
            item.answer
            == dict(read(item.base.text)[0])[read(item.source.text)[1]]
            != item.base.answer
        )


def test_as_published_the_shortened_source_is_read_behind_its_end():
    made = build("altered_box_obj_order", 60, split="evaluation", as_published=True)
    assert [item.padded_source for item in made] == [asked(item.source.text) < 6 for item in made]
    assert not any(
        i.padded_source for i in build("position", 20, split="evaluation", as_published=True)
    )


def test_the_registry_is_complete_and_says_its_rules():
    assert (
        len(PAPER) == 14
        and len(OURS) == 3
        and len([n for n in PAPER if "variation" in DESIDERATA[n].origin]) == 11
    )
    for name, wanted in DESIDERATA.items():
        assert wanted.name == name and wanted.rule.endswith(".") and wanted.rule.count(". ") == 0
    assert len({d.title for d in DESIDERATA.values()}) == 17


@pytest.mark.parametrize(
    ("name", "least"),
    [("object", 2), ("position", 2), ("label", 3), ("add_seg_start", 4), ("incorrect_segment", 3),
     ("filler_before", 4), ("filler_after", 4), ("boxes_reordered", 5)],
)  # fmt: skip
def test_too_few_boxes_are_refused(name, least):
    assert len(build(name, 3, split="evaluation", n_boxes=least)) == 3
    with pytest.raises(TaskError) as error:
        build(name, 3, split="evaluation", n_boxes=least - 1)
    if least > 2:
        assert (
            str(error.value)
            == f"n_boxes {least - 1}; desideratum {name!r} needs more to keep its answers apart."
            " Use more boxes."
        )
    else:
        assert (
            str(error.value)
            == "n_boxes 1; a scene has 2 to 10 boxes. Choose a number in that range."
        )


def test_an_unknown_name_is_refused():
    with pytest.raises(
        TaskError,
        match="^unknown desideratum 'colour'; there are object, position, label, random_text_",
    ):
        build("colour", 3, split="evaluation")


@pytest.mark.parametrize("name", OURS)
def test_what_the_paper_does_not_have_has_no_published_form(name):
    with pytest.raises(TaskError) as error:
        build(name, 3, split="evaluation", as_published=True)
    assert (
        str(error.value)
        == f"desideratum {name!r} as published; the paper does not have it. Leave out as_published."
    )


BAD = {
    "no box 'E' in the base; desideratum 'label' asks the source for a label that the base has too. Query another box.": lambda: (
        counterfactual("label", BASE, Example(SOURCE.scene, 0))
    ),
    "source query 3 for base query 3; the answers of desideratum 'position' would coincide or lie outside the scene. Query another box.": lambda: (
        counterfactual("position", BASE, Example(SOURCE.scene, 3))
    ),
    "object 'hat' in base and source; their answers could not be told apart. Change one.": (
        lambda: counterfactual(
            "position",
            BASE,
            Example(Scene(("kite", "hat", "doll", "pen"), ("E", "F", "G", "H")), 0),
        )
    ),
    "a source of 2 boxes; the base has 4. Use scenes of one size.": lambda: counterfactual(
        "object", BASE, Example(Scene(("kite", "drum"), ("E", "F")), 0)
    ),
    "1 segments of filler before; desideratum 'object' has none. Change 'before'.": (
        lambda: counterfactual("object", BASE, SOURCE, before=1)
    ),
    "0 segments of filler after; desideratum 'filler_after' needs some. Change 'after'.": (
        lambda: counterfactual("filler_after", BASE, SOURCE)
    ),
    "a list of 10 words; base and source need 14 different objects. Give more words.": (
        lambda: build("object", 3, split="evaluation", words=NOUNS[:10])
    ),
    "n 0; at least one is needed. Ask for 1 or more.": lambda: build(
        "object", 0, split="evaluation"
    ),
    "unknown split 'test'; the splits are training, validation, discovery, pruning, evaluation. Use one of them.": lambda: (
        build("object", 3, split="test")
    ),
    "unknown format 'short'; the formats are alternative, standard. Use one of them.": (
        lambda: build("object", 3, split="evaluation", format="short")
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_words(message):
    with pytest.raises(TaskError) as error:
        BAD[message]()
    assert str(error.value) == message

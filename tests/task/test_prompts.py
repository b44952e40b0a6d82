"""Tokens and roles: every role is checked against the word that must stand there, whatever the
tokenizer adds.
"""

import dataclasses
import html.parser

import pytest
import torch
from tokenizers_for_tests import BARE, TWO_PIECES, make_tokenizer
from transformers import AutoTokenizer

from entrack.display.prompt_view import show
from entrack.display.style import ROLE_WORDS
from entrack.errors import AlignmentError, TaskError
from entrack.store.digests import cache_dir, digest
from entrack.task.boxes import FORMATS, LABELS, NOUNS, ROLES, Example, RoleText, Scene
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.desiderata import DESIDERATA, build
from entrack.task.draws import Pair, all_queries, examples, pairs, scenes
from entrack.task.prompts import AFTER_LABEL, encode, encode_pairs

TOKENIZER = make_tokenizer()
TWO = Scene(("apple", "coin"), ("F", "C"))


def words_at(prompts, role):
    """The word at a role of every prompt, read from the tokens."""
    rows = zip(prompts.tokens, prompts.at(role), strict=True)
    return [TOKENIZER.decode([row[place]]).strip() for row, place in rows]


@pytest.fixture(scope="module")
def smollm2():
    """The default model's own tokenizer."""
    folder = cache_dir() / "models" / "smollm2"
    if not (folder / "tokenizer.json").exists():
        pytest.skip("the default model is not in the cache; load it once")
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("bos", [False, True], ids=["plain", "bos"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n_boxes", [2, 7, 10])
def test_roles_stand_on_their_words(bos, format, n_boxes):
    made = all_queries(scenes(4, split="evaluation", n_boxes=n_boxes), format=format)
    prompts = encode(make_tokenizer(bos=bos), made)
    labels = [example.scene.labels[example.query] for example in made]
    assert words_at(prompts, "last") == ["the"] * len(made)
    assert words_at(prompts, "query_label") == words_at(prompts, "prev_query_label") == labels
    assert words_at(prompts, "correct_object") == [example.answer for example in made]
    assert (prompts.at("prev_query_label") < prompts.at("query_label")).all()
    assert torch.equal(prompts.at("last"), prompts.lengths - 1)
    assert [TOKENIZER.decode([token]) for token in prompts.answers] == [
        f" {example.answer}" for example in made
    ]


def test_the_places_that_the_paper_counts():
    """With one token before the text, as in Llama: 54 tokens, label of segment s at 6 + 7 s, last
    at 53.
    """
    prompts = encode(make_tokenizer(bos=True), examples(7, split="evaluation"))
    assert prompts.tokens.shape == (7, 54) and set(prompts.at("last").tolist()) == {53}
    assert prompts.at("prev_query_label").tolist() == [6 + 7 * s for s in range(7)]
    assert prompts.segments["label"][0].tolist() == [6 + 7 * s for s in range(7)]
    assert prompts.segments["object"][0].tolist() == [2 + 7 * s for s in range(7)]
    assert set(prompts.at("query_label").tolist()) == {51}


def test_a_corrupt_prompt_keeps_the_roles_of_its_segment():
    (prompts,) = [encode(TOKENIZER, [Example(TWO, 1, query_label="Q")])]
    assert words_at(prompts, "query_label") == ["Q"]
    assert words_at(prompts, "prev_query_label") == ["C"] and words_at(
        prompts, "correct_object"
    ) == ["coin"]


def test_prompts_of_several_lengths_are_padded_on_the_right():
    mixed = examples(2, split="training", n_boxes=7) + examples(2, split="training", n_boxes=3)
    prompts = encode(TOKENIZER, mixed)
    assert prompts.lengths.tolist() == [53, 53, 25, 25] and prompts.tokens.shape == (4, 53)
    assert (prompts.tokens[2:, 25:] == TOKENIZER.pad_token_id).all() and prompts.segments == {}
    assert (
        torch.equal(prompts.at("last"), prompts.lengths - 1)
        and words_at(prompts, "last") == ["the"] * 4
    )


def test_the_pieces_spell_the_text():
    prompts = encode(make_tokenizer(bos=True), examples(3, split="training"))
    for text, pieces, length in zip(prompts.texts, prompts.pieces, prompts.lengths, strict=True):
        assert pieces[0] == "<s>" and "".join(pieces[1:]) == text and len(pieces) == length


@pytest.mark.parametrize("indices", [[4, 1], torch.tensor([4, 1]), slice(4, 0, -3)])
def test_a_subset_keeps_everything_aligned(indices):
    prompts = encode(TOKENIZER, examples(6, split="training"))
    part = prompts.subset(indices)
    alone = encode(TOKENIZER, [prompts.examples[4], prompts.examples[1]])
    assert len(part) == 2 and part.texts == alone.texts and part.pieces == alone.pieces
    assert part.examples == alone.examples
    assert torch.equal(part.tokens, alone.tokens) and torch.equal(part.answers, alone.answers)
    assert all(torch.equal(part.at(role), alone.at(role)) for role in ROLES)
    assert all(
        torch.equal(part.segments[kind], alone.segments[kind]) for kind in ("object", "label")
    )


def test_pairs_are_aligned():
    clean, corrupt = encode_pairs(TOKENIZER, pairs(14, split="discovery"))
    assert torch.equal(clean.lengths, corrupt.lengths) and len(clean) == len(corrupt) == 14
    for role in ("last", "query_label"):
        assert torch.equal(clean.at(role), corrupt.at(role))
    assert ((corrupt.at("prev_query_label") - clean.at("prev_query_label")) % 49 == 7).all()


def test_pairs_of_different_lengths_are_refused():
    uneven = Pair(Example(TWO, 0), Example(TWO, 1, "standard"))
    with pytest.raises(AlignmentError) as error:
        encode_pairs(TOKENIZER, [*pairs(1, split="discovery", n_boxes=2), uneven])
    assert (
        str(error.value)
        == "pair 1 has 18 clean and 16 corrupt tokens; path patching needs equal lengths. "
        "Use one format and words of one token."
    )


def test_an_unknown_role_is_refused():
    with pytest.raises(AlignmentError) as error:
        encode(TOKENIZER, [Example(TWO, 0)]).at("first")
    assert (
        str(error.value)
        == "unknown role 'first'; the roles are last, query_label, prev_query_label,"
        " correct_object, after_prev_query_label. Use one of them."
    )


@pytest.mark.parametrize("query", [0, 1])
@pytest.mark.parametrize("word", TWO_PIECES)
def test_a_word_of_two_tokens_is_named(word, query):
    with pytest.raises(
        TaskError, match=rf"^word '{word}' is 2 tokens \[.*\]; every object and label must be one\."
    ):
        encode(TOKENIZER, [Example(Scene(("apple", word), ("F", "C")), query)])


def test_an_answer_of_two_tokens_is_named():
    text = Example(TWO, 0).role_text()
    with pytest.raises(TaskError) as error:
        encode(TOKENIZER, [RoleText(text.text, "gramophone", text.spans)])
    assert str(error.value) == "answer 'gramophone' is 2 tokens; it must be one. Use another word."


def test_a_token_that_holds_more_than_the_word_is_refused():
    text = Example(TWO, 0).role_text()
    spans = {**text.spans, "correct_object": (4, 8)}  # "appl"
    with pytest.raises(AlignmentError, match="reads 'apple' where correct_object should be 'appl'"):
        encode(TOKENIZER, [RoleText(text.text, "apple", spans)])


def test_a_tokenizer_that_ends_the_text_is_refused():
    with pytest.raises(
        AlignmentError, match="follows the prompt's last word; the answer is read at the last word"
    ):
        encode(make_tokenizer(eos=True), [Example(TWO, 0)])


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(AlignmentError) as error:
        encode(Slow(), [Example(TWO, 0)])
    assert (
        str(error.value)
        == "Slow gives no character positions; roles are found by them. Use a fast tokenizer."
    )


def test_a_prompt_longer_than_the_model_reads_is_refused():
    made = examples(1, split="training", n_boxes=2) + examples(1, split="training", n_boxes=10)
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 74
    assert encode(tokenizer, made).tokens.shape == (2, 74)
    tokenizer.model_max_length = 73
    with pytest.raises(AlignmentError) as error:
        encode(tokenizer, made)
    assert (
        str(error.value)
        == "prompt 1 of 74 tokens; this model reads at most 73. Use fewer boxes or a shorter text."
    )


def test_nothing_to_encode_is_refused():
    with pytest.raises(TaskError, match="no examples to encode"):
        encode(TOKENIZER, [])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", DESIDERATA)
def test_counterfactuals_keep_their_roles_in_any_wording(name, format):
    made = build(name, 14, split="evaluation", format=format)
    found = encode_counterfactuals(TOKENIZER, made)
    asked = [text.source.text.split("Box ")[-1].split()[0] for text in made]
    assert (
        words_at(found.source, "query_label") == words_at(found.source, "prev_query_label") == asked
    )
    assert words_at(found.source, "correct_object") == [item.source.answer for item in made]
    assert words_at(found.source, "last") == ["the"] * 14
    assert torch.equal(found.source.at("last"), found.source.lengths - 1)
    assert [TOKENIZER.decode([token]).strip() for token in found.answers] == [
        item.answer for item in made
    ]
    for key, ids in found.alternatives.items():
        assert [TOKENIZER.decode([token]).strip() for token in ids] == [
            item.alternatives[key] for item in made
        ]
    part = found.subset([3, 5])
    assert (
        part.base.texts == found.base.texts[3:6:2]
        and part.source.texts == found.source.texts[3:6:2]
    )
    assert torch.equal(part.answers, found.answers[[3, 5]])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["filler_before", "filler_after", "boxes_reordered"])
def test_filler_points_exactly_at_another_box(name, format):
    """The token at the source's place, from the start or the end, is in the base the label of the
    rival's box.
    """
    found = encode_counterfactuals(TOKENIZER, build(name, 70, split="evaluation", format=format))
    _check_filler(found)


def _check_filler(found):
    place = found.source.at("prev_query_label")
    rivals = {
        "token_from_start": place,
        "token_from_end": place - found.source.lengths + found.base.lengths,
    }
    checked = 0
    for key, rival in rivals.items():
        if key in found.alternatives:
            here = found.base.segments["label"] == rival[:, None]
            assert (here.sum(1) == 1).all()
            things = found.base.tokens.gather(1, found.base.segments["object"])
            assert torch.equal(things[here], found.alternatives[key])
            checked += 1
    assert checked


def test_published_label_is_scored_without_its_space():
    made = build("label", 60, split="evaluation", as_published=True)
    found = encode_counterfactuals(TOKENIZER, made)
    expected = [
        TOKENIZER.convert_tokens_to_ids(item.answer) if item.answer in BARE else 2 for item in made
    ]
    assert found.answers.tolist() == expected and set(expected) > {2}
    right = encode_counterfactuals(TOKENIZER, build("label", 60, split="evaluation"))
    assert not set(right.answers.tolist()) & set(found.answers.tolist())


def test_published_swapped_source_is_read_behind_its_end():
    made = build("altered_box_obj_order", 60, split="evaluation", as_published=True)
    found = encode_counterfactuals(TOKENIZER, made)
    late = found.source.at("last") - (found.source.lengths - 1)
    assert late.tolist() == [int(item.padded_source) for item in made] and set(late.tolist()) == {
        0,
        1,
    }
    read = found.source.tokens.gather(1, found.source.at("last")[:, None])[:, 0]
    assert (read[late == 1] == TOKENIZER.pad_token_id).all() and (
        read[late == 0] != TOKENIZER.pad_token_id
    ).all()
    right = encode_counterfactuals(
        TOKENIZER, build("altered_box_obj_order", 60, split="evaluation")
    )
    assert torch.equal(right.source.at("last"), right.source.lengths - 1)


def test_counterfactuals_of_two_desiderata_do_not_mix():
    made = build("object", 1, split="evaluation") + build("label", 1, split="evaluation")
    with pytest.raises(
        TaskError, match="counterfactuals with different candidates; one list needs one desideratum"
    ):
        encode_counterfactuals(TOKENIZER, made)


def test_show_marks_every_role_by_name():
    prompts = encode(make_tokenizer(bos=True), examples(3, split="evaluation"))
    view = show(prompts, 2)
    lines = str(view).splitlines()
    marked = {line.split("<-")[1].strip(): int(line.split()[0]) for line in lines if "<-" in line}
    assert marked == {role: int(prompts.at(role)[2]) for role in (*ROLES, AFTER_LABEL)}
    assert lines[-1] == f"answer: {prompts.examples[2].answer}" and "<s>" in lines[1]
    page = view._repr_html_()
    assert all(page.count(f">{ROLE_WORDS[role]}<") == 2 for role in (*ROLES, AFTER_LABEL))
    assert page.count("<li ") == len(prompts.pieces[2]) and "aria-label=" in page


def test_show_is_well_formed():
    page = show(encode(TOKENIZER, [Example(TWO, 0)]), 0)._repr_html_()

    class Balanced(html.parser.HTMLParser):
        open_tags: list[str] = []

        def handle_starttag(self, tag, attrs):
            self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    Balanced().feed(page)
    assert Balanced.open_tags == []


def test_show_refuses_a_prompt_that_is_not_there():
    with pytest.raises(AlignmentError) as error:
        show(encode(TOKENIZER, [Example(TWO, 0)]), 1)
    assert str(error.value) == "prompt 1; there are 1, counted from 0. Use a smaller number."


def test_every_noun_and_label_is_one_token_of_the_default_model(smollm2):
    for word in (*NOUNS, *LABELS):
        assert len(smollm2.encode(f" {word}", add_special_tokens=False)) == 1, word


@pytest.mark.parametrize("format", FORMATS)
def test_the_default_model_reads_the_task_as_the_test_tokenizer_does(smollm2, format):
    for made in (
        examples(14, split="evaluation", format=format),
        examples(3, split="pruning", n_boxes=10, format=format),
    ):
        ours, theirs = encode(TOKENIZER, made), encode(smollm2, made)
        assert ours.pieces == theirs.pieces and all(
            torch.equal(ours.at(r), theirs.at(r)) for r in ROLES
        )
    for name in DESIDERATA:
        made = build(name, 14, split="evaluation", format=format)
        ours, theirs = (
            encode_counterfactuals(TOKENIZER, made),
            encode_counterfactuals(smollm2, made),
        )
        assert ours.source.pieces == theirs.source.pieces
        if DESIDERATA[name].filler:
            _check_filler(theirs)


def test_a_digest_tells_the_same_tokens_with_other_answers_or_roles_apart():
    tokenizer = make_tokenizer()
    drawn = scenes(2, split="evaluation", n_boxes=3)
    prompts = encode(tokenizer, all_queries(drawn))
    assert encode(tokenizer, all_queries(drawn)).digest == prompts.digest
    others = [
        dataclasses.replace(prompts, answers=prompts.answers.flip(0)),
        dataclasses.replace(prompts, roles={**prompts.roles, "last": prompts.at("query_label")}),
        dataclasses.replace(prompts, segments={}),
        prompts.subset([1, 0, 2, 3, 4, 5]),
    ]
    assert len({prompts.digest, *(other.digest for other in others)}) == 5
    assert digest(prompts) == digest(dataclasses.replace(prompts)) != digest(others[0])


def test_prompts_of_one_scene_are_numbered_together():
    tokenizer = make_tokenizer()
    first, second = (all_queries([s]) for s in scenes(2, split="evaluation", n_boxes=3))
    mixed = encode(tokenizer, [*first, second[0], first[1], *examples(1, split="pruning")])
    assert mixed.scenes.tolist() == [0, 0, 0, 1, 0, 2]

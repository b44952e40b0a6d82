"""The explorer's answers against whole passes with hooks, written out; identities; refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from hooked import logits_with
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.cross_model.cells import Cell, group_cell
from entrack.cross_model.explorer import ANOTHER_PROMPT, KINDS, MEAN, both_ways, explore
from entrack.errors import AlignmentError, ConfigError, ModelError, SiteError, TaskError
from entrack.model.activations import clean_run, mean_z
from entrack.sites import Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")
CELLS = [
    group_cell(CIRCUIT, "A"),
    group_cell(CIRCUIT, "B", "C"),
    group_cell(CIRCUIT, "D"),
    group_cell(CIRCUIT),
    Cell("one head", {"query_label": (Head(1, 2),)}),
]


@pytest.fixture(scope="module")
def data(model):
    return encode_counterfactuals(model.tokenizer, interchanges(2, split="evaluation"))


@pytest.fixture(scope="module")
def means(model):
    return mean_z(model, encode(model.tokenizer, examples(9, split="discovery")))


def kinds(model, data, logits, *, told_apart):
    """The probabilities of every kind of answer, by the words of the scenes [example kind]."""
    probs, rows = logits.softmax(-1), []

    def of(word, row):
        (token,) = model.tokenizer(f" {word}")["input_ids"][-1:]
        return float(probs[row, token])

    for row, (base, source) in enumerate(
        zip(data.base.examples, data.source.examples, strict=True)
    ):
        slots = [source.text.index(source.answer) > source.text.index(w) for w in words(source)]
        asked = base.scene.objects[sum(slots)] if told_apart else None
        right = of(base.answer, row)
        position = of(asked, row) if asked else 0.0
        object = of(source.answer, row) if told_apart else 0.0
        others = sum(of(w, row) for w in base.scene.objects if w not in (base.answer, asked))
        rows.append([right, position, object, others, 1 - right - position - object - others])
    return np.array(rows)


def logs(probs):
    """Their logarithms: rounding of logits shows in these alike, however likely a word is."""
    return np.log(np.maximum(probs, 1e-5))


def words(source):
    """The objects of a source, in the order of its text."""
    places = sorted(span for name, span in source.spans.items() if name.startswith("object_"))
    return [source.text[slice(*place)] for place in places]


def sources(model, data, means, donor):
    """Source -> what a head gives there at a role [example d_head]."""
    other, version = clean_run(model, data.source), clean_run(donor, data.base)

    def at(run):
        return lambda role, head: run.z_at(role)[head.layer, :, head.head]

    mean = lambda role, head: means.z[head.layer, data.base.at(role), head.head]  # noqa: E731
    return {ANOTHER_PROMPT: at(other), donor.name: at(version), MEAN: mean}


def test_every_answer_is_that_of_a_whole_pass_with_hooks(model, data, means):
    donor = replace(fine_tuned(), name="tiny/tuned")
    found = explore(model, data, circuit=CIRCUIT, cells=CELLS, means=means, donors=[donor])
    given = sources(model, data, means, donor)
    same = {"terms": additions(model, 60), "magnitude": last_logits(model, data.base)}
    assert found.sources == tuple(given) and len(KINDS) == found.probs.shape[-1]
    for number, (source, z) in enumerate(given.items()):
        told_apart = source == ANOTHER_PROMPT
        plain = kinds(model, data, last_logits(model, data.base), told_apart=told_apart)
        assert_close(logs(found.own[number]), logs(plain), **same)
        for index, cell in enumerate(CELLS):
            logits = logits_with(model, data.base, z, list(cell.heads.items()))
            expected = kinds(model, data, logits, told_apart=told_apart)
            patched = logs(found.probs[number, index])
            assert_close(patched, logs(expected), unlike=logs(plain), **same)
            np.testing.assert_array_equal(found.top[number, index], logits.argmax(-1))
    np.testing.assert_array_equal(found.own_top, last_logits(model, data.base).argmax(-1))
    total = found.probs.sum(-1)
    assert_close(total, np.ones_like(total), terms=len(model.tokenizer))


def test_a_version_that_gives_to_itself_changes_nothing(model, data, means):
    twin = replace(model, name="tiny/twin")
    found = explore(model, data, circuit=CIRCUIT, cells=CELLS, means=means, donors=[twin])
    same = {"terms": additions(model, 60), "magnitude": last_logits(model, data.base)}
    expected = np.broadcast_to(found.own[1], found.probs[1].shape)
    assert_close(logs(found.probs[1]), logs(expected), **same)


def test_attention_is_the_mean_over_the_heads_of_a_group(model, data, means):
    found = explore(
        model, data, circuit=CIRCUIT.only("position_detector"), cells=CELLS, means=means
    )
    assert list(found.attention) == ["position_detector"]
    hf = tiny_model("gqa").hf
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        layers = hf(data.base.tokens, output_attentions=True).attentions
    rows, place = torch.arange(len(data)), data.base.at("query_label")
    expected = torch.stack(
        [layers[h.layer][rows, h.head, place] for h in HEADS["position_detector"]]
    ).mean(0)
    assert_close(found.attention["position_detector"], expected, terms=additions(model, 60))


def test_chosen_prompts_ask_for_every_position_right_and_wrong(model, data, monkeypatch):
    many = encode_counterfactuals(model.tokenizer, interchanges(6, split="evaluation"))
    hits = np.arange(42) % 3 == 0  # a third is right; 42 pairs, six at each position
    monkeypatch.setattr("entrack.cross_model.explorer._hits", lambda model, prompts: hits)
    chosen, right = both_ways(model, many, n=28)
    asked = [example.query for example in chosen.base.examples]
    assert asked == sorted(asked) and [asked.count(slot) for slot in range(7)] == [4] * 7
    texts = [many.base.texts.index(text) for text in chosen.base.texts]
    assert right.tolist() == hits[texts].tolist() and right.reshape(7, 4).sum(1).tolist() == [2] * 7
    with pytest.raises(ConfigError, match="43 prompts of 42 pairs; there are not that many. Draw"):
        both_ways(model, many, n=43)


def test_what_cannot_be_explored_is_refused_in_words(model, data, means):
    def refused(error, match, data=data, **changed):
        options = {"circuit": CIRCUIT, "cells": CELLS, "means": means, **changed}
        with pytest.raises(error, match=match):
            explore(model, data, **options)

    refused(ConfigError, "no cells; at least one is needed", cells=[])
    refused(ConfigError, "cells A, A: A twice", cells=[CELLS[0], CELLS[0]])
    refused(ConfigError, "cells q of A are of inputs", cells=[group_cell(CIRCUIT, "A", inputs="q")])
    refused(SiteError, "no head 9.0", cells=[Cell("x", {"last": (Head(9, 0),)})])
    refused(ModelError, "differ in shape", donors=[fine_tuned("mqa")])
    short = mean_z(model, encode(model.tokenizer, examples(3, split="discovery", n_boxes=3)))
    refused(AlignmentError, r"means over prompts of \d+ tokens for bases of", means=short)
    same = replace(data, source=data.base)
    refused(TaskError, "pair 0: base and source ask for one position", data=same)
    odd = replace(data, base=replace(data.base, answers=data.base.answers.roll(1)))
    refused(AlignmentError, "an object is another token in the answer", data=odd)

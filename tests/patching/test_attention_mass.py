"""Attention per kind of token, against Hugging Face's own attention weights summed by hand."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from tiny_models import tiny_model

from entrack.errors import SiteError
from entrack.patching.attention_mass import KINDS, attention_mass, token_kinds
from entrack.sites import Head
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_kinds_are_the_words_they_name(prompts, role):
    kinds = token_kinds(prompts, role=role)
    for i, example in enumerate(prompts.examples):
        words = [piece.strip() for piece in prompts.pieces[i]]
        found = {
            name: [words[p] for p in range(len(words)) if kinds[i, p] == k]
            for k, name in enumerate(KINDS)
        }
        scene, query = example.scene, example.query
        assert found["correct_object"] == [scene.objects[query]]
        assert sorted(found["other_objects"]) == sorted(
            o for j, o in enumerate(scene.objects) if j != query
        )
        assert sorted(found["other_labels"]) == sorted(
            name for j, name in enumerate(scene.labels) if j != query
        )
        assert found["first"] == [words[0]] and len(found["itself"]) == 1
        assert found["query_label"] == ([] if role == "query_label" else [scene.labels[query]])
        assert found["after_prev_query_label"] == ["," if query < scene.n_boxes - 1 else "."]
        assert found["prev_query_label"] == (
            [] if role == "prev_query_label" else [scene.labels[query]]
        )


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa"])
def test_mass_is_eager_attention_summed_by_kind(kind, prompts, role):
    own = tiny_model(
        kind
    )  # not the shared one: `output_attentions` leaves hooks of transformers behind
    found, kinds = attention_mass(own, prompts, role=role), token_kinds(prompts, role=role)
    own.hf.set_attn_implementation("eager")
    with torch.no_grad():
        weights = own.hf(prompts.tokens, output_attentions=True).attentions
    terms = additions(own, prompts.tokens.shape[1])
    for layer in (0, 3):
        row = weights[layer][torch.arange(len(prompts)), :, prompts.at(role)]  # [example head pos]
        for k in range(len(KINDS)):
            expected = (row * (kinds == k)[:, None]).sum(-1).T
            assert_close(found.mass[layer, :, k], expected, terms=terms, magnitude=row)
        others = np.roll(found.mass[layer], 1, axis=1)
        assert_apart(found.mass[layer], others, terms=terms)  # a mix-up of kinds would show
    assert_close(found.mass.sum(2), np.ones_like(found.mass[:, :, 0]), terms=terms)


def test_means_and_their_scenes(model):
    prompts = encode(
        model.tokenizer, all_queries(scenes(3, split="evaluation"), format="alternative")
    )
    found = attention_mass(model, prompts, role="last")
    assert found.scenes.tolist() == [i // 7 for i in range(21)]
    both = found.of([Head(1, 0), Head(2, 3)])["correct_object"]
    assert both.value == pytest.approx(np.mean([found.mass[1, 0, 0], found.mass[2, 3, 0]]))
    assert both.low < both.value < both.high
    # Weights that were summed in float32 over a prompt's tokens, and over 21 prompts.
    total = sum(found.everywhere.values())
    assert_close(total, 1.0, terms=21 * 60, magnitude=np.float32(1))
    with pytest.raises(SiteError, match="no heads to average; at least one is needed"):
        found.of([])
    with pytest.raises(SiteError, match=r"no head 5\.0"):
        found.of([Head(5, 0)])

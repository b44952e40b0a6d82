"""One prompt beside the engines that take many: the same edits, so the same probabilities."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from small_circuit import CIRCUIT
from tiny_models import fine_tuned, last_logits

from entrack.circuit.ablation import score_circuits
from entrack.cross_model.cells import group_cell
from entrack.cross_model.cmap import cross_patch
from entrack.errors import ConfigError
from entrack.heads import one_prompt
from entrack.model.activations import mean_z
from entrack.patching.attention_knockout import knock_out
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch
from entrack.patching.path_patching import path_patching
from entrack.sites import Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals

pytestmark = pytest.mark.usefixtures("own_cache")
B = Patch("last", CIRCUIT.groups["position_transmitter"])


@pytest.fixture
def data(model):
    return encode_counterfactuals(model.tokenizer, interchanges(2, split="evaluation"))


def close(found, expected, model, prompts):
    """Two probabilities, by their logarithms, which whole passes make."""
    assert_close(
        np.log(found),
        np.log(expected),
        terms=additions(model, prompts.tokens.shape[1]),
        magnitude=last_logits(model, prompts),
    )


def test_asks_for_the_objects_the_right_one_first(prompts):
    asked = one_prompt.ask(prompts, 3)
    example = prompts.examples[3]
    assert list(asked.words)[0] == example.answer and set(asked.words) == set(example.scene.objects)
    assert asked.words[example.answer] == int(prompts.answers[3])
    assert asked.best(np.arange(len(asked.words))) == list(asked.words)[-1]


def test_alone_gives_the_models_own_probabilities(model, prompts):
    asked = one_prompt.ask(prompts, 3)
    logits = model.hf(asked.prompt.tokens).logits[0, -1].detach()
    expected = logits.softmax(-1)[list(asked.words.values())].numpy()
    close(one_prompt.alone(model, asked), expected, model, asked.prompt)


@pytest.mark.parametrize(
    "role, sender, receivers, via",
    [
        ("last", Head(1, 2), (), "logits"),
        ("last", Head(1, 2), (Head(0, 0), Head(3, 1), Head(4, 2)), "q"),
        ("query_label", Head(0, 1), (Head(2, 1), Head(2, 3)), "v"),
        ("query_label", Head(0, 1), (Head(2, 1),), "k"),
    ],
)
def test_a_path_is_that_of_the_engine(model, pair_prompts, role, sender, receivers, via):
    clean, corrupt = (prompts.subset([2]) for prompts in pair_prompts)
    engine = path_patching(model, clean, corrupt=corrupt, role=role, receivers=receivers, via=via)
    change = float(engine.values[sender.layer, sender.head, 0])
    assert abs(change) > 1e-5
    asked = one_prompt.ask(clean)
    found = one_prompt.path_patched(
        model, asked, corrupt, role=role, sender=sender, receivers=receivers, via=via
    )
    close(found[:1], engine.baseline * (1 + change), model, clean)


def test_a_sender_without_a_way_to_its_receivers_is_refused(model, pair_prompts):
    clean, corrupt = (prompts.subset([2]) for prompts in pair_prompts)
    asked = one_prompt.ask(clean)
    for options in (
        {"receivers": [Head(1, 0)], "via": "q"},
        {"via": "q"},
        {"receivers": [Head(4, 0)]},
    ):
        with pytest.raises(ConfigError, match="need receivers above the sender"):
            one_prompt.path_patched(
                model, asked, corrupt, role="last", sender=Head(1, 2), **options
            )


def test_a_circuit_alone_is_that_of_the_engine(model, prompts):
    means = mean_z(model, prompts)
    scores = score_circuits(model, prompts, circuits=[CIRCUIT], means=means)
    asked = one_prompt.ask(prompts, 5)
    found = one_prompt.circuit_alone(model, asked, circuit=CIRCUIT, means=means)
    close(found[:1], np.exp(scores.log_prob[0, [5]]), model, asked.prompt)
    assert abs(np.log(found[0] / one_prompt.alone(model, asked)[0])) > 1e-3


def test_a_cut_is_the_knock_out(model, prompts):
    edge, prompts = ("last", "correct_object"), prompts.subset(range(4))
    hits = knock_out(model, prompts, edges=[edge], layers=[0, model.n_layers]).hits[edge]
    moved = 0
    for index in range(len(prompts)):
        words = {str(token): token for token in range(model.config.vocab_size)}
        asked = one_prompt.ask(prompts, index, words=words)
        for row, layer in zip(hits, (0, model.n_layers), strict=True):
            said = int(asked.best(one_prompt.cut(model, asked, edge=edge, layer=layer)))
            assert (said == int(prompts.answers[index])) == row[index]
        own, cut = one_prompt.alone(model, asked), one_prompt.cut(model, asked, edge=edge)
        moved += np.abs(own - cut).max() > 1e-3
        close(one_prompt.cut(model, asked, edge=edge, layer=model.n_layers), own, model, prompts)
    assert moved


def test_a_patch_says_what_the_engine_says(model, data):
    """From another prompt, by the model itself and by another."""
    other = fine_tuned()
    for donor in (None, other):
        expected = patch_pairs(model, data, patches={"B": B}, donor=donor).answers[0]
        for index in range(len(data)):
            words = {str(token): token for token in range(model.config.vocab_size)}
            asked = one_prompt.ask(data.base, index, words=words)
            source = data.source.subset([index])
            said = asked.best(one_prompt.patched(model, asked, source, B, donor=donor))
            assert int(said) == expected[index]


def test_a_patch_on_the_same_prompt_is_that_between_models(model, prompts):
    donor = fine_tuned()
    cell = group_cell(CIRCUIT, "B")
    scores = cross_patch(donor, model, prompts, cells=[cell])
    asked = one_prompt.ask(prompts, 4)
    found = one_prompt.patched(model, asked, asked.prompt, B, donor=donor)
    close(found[:1], np.exp(scores.log_prob[0, [4]]), model, asked.prompt)
    assert abs(np.log(found[0] / one_prompt.alone(model, asked)[0])) > 1e-3


def test_a_patch_of_no_head_changes_nothing_and_one_of_the_stream_is_refused(model, data):
    asked = one_prompt.ask(data.base)
    own = one_prompt.alone(model, asked)
    assert (one_prompt.patched(model, asked, data.source, Patch("last")) == own).all()
    with pytest.raises(ConfigError, match="patch of the residual stream"):
        one_prompt.patched(model, asked, data.source, Patch("last", resid=1))


def test_candidates_begin_with_the_bases_own_answer(data):
    words = one_prompt.candidates(data, 3)
    own, other = data.base.examples[3].answer, data.source.examples[3].answer
    assert list(words)[0] == f"unchanged: {own}" and f"object: {other}" in words
    assert int(data.answers[3]) == next(v for k, v in words.items() if k.startswith("label: "))
    position = next(v for k, v in words.items() if k.startswith("position: "))
    assert position == int(data.alternatives["position"][3])
    told = [word for word in words if ": " not in word]
    assert set(told) < set(data.base.examples[3].scene.objects) and len(told) == 4
    assert len(set(words.values())) == len(words) == 8


def test_the_first_repaired_prompt(model, prompts, monkeypatch):
    hits = {"wrong": [1, 0, 0, 1], "right": [1, 0, 1, 1]}

    def answers(which, _):
        return type("Outcome", (), {"hit": torch.tensor(hits[which], dtype=bool)[:, None]})

    monkeypatch.setattr(one_prompt, "answers_of", answers)
    assert one_prompt.first_repaired("wrong", "right", prompts) == 2
    assert one_prompt.first_repaired("right", "right", prompts) == 0


def test_a_reading_is_a_mean_over_heads_that_sums_to_one(model, prompts):
    found = one_prompt.reading(model, prompts.subset([2]), circuit=CIRCUIT)
    assert list(found.looks) == list(CIRCUIT.groups)
    for group, weights in found.looks.items():
        assert abs(weights.sum() - 1) < 1e-5 and weights[found.acts[group] + 1 :].sum() == 0
        assert found.acts[group] == int(prompts.at(CIRCUIT.role(group))[2])
    without = CIRCUIT.without("position_detector", CIRCUIT.groups["position_detector"])
    assert "position_detector" not in one_prompt.reading(model, prompts, circuit=without).looks


def test_a_prompt_that_is_not_there_is_refused(prompts):
    with pytest.raises(ConfigError, match="prompt 14; there are 14, counted from 0"):
        one_prompt.ask(prompts, 14)
    with pytest.raises(ConfigError, match="no words to ask for"):
        one_prompt.ask(prompts, words={})

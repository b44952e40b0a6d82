"""Scores of the task, computed scene by scene, against plain passes over every prompt."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from tiny_models import last_logits, tiny_model

from entrack.errors import ConfigError
from entrack.model.activations import clean_runs
from entrack.patching.accuracy import TaskScores, score_family, score_sizes, score_task
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


def plain(model, chosen, format):
    """Most likely token and log-probability of the answer by one forward pass per prompt [scene
    query].
    """
    prompts = encode(model.tokenizer, all_queries(chosen, format=format))
    top, log_prob = [], []
    with torch.no_grad():
        for row, answer in zip(prompts.tokens, prompts.answers, strict=True):
            logits = model.hf(row[None]).logits[0, -1]
            top.append(logits.argmax().item())
            log_prob.append(logits.log_softmax(-1)[answer].item())
    shape = (len(chosen), chosen[0].n_boxes)
    return (
        prompts.answers.numpy().reshape(shape),
        np.reshape(top, shape),
        np.reshape(log_prob, shape),
    )


def rounding(model, chosen):
    prompts = encode(model.tokenizer, all_queries(chosen))
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


@pytest.mark.parametrize("format", ["alternative", "standard"])
@pytest.mark.parametrize("n_boxes", [2, 7])
def test_scores_equal_one_plain_pass_per_prompt(any_model, format, n_boxes):
    chosen = scenes(12, split="evaluation", n_boxes=n_boxes)
    answers, top, log_prob = plain(any_model, chosen, format)
    found = score_task(any_model, chosen, format=format)
    np.testing.assert_array_equal(found.hits, top == answers)
    # Another scene's log probabilities are others, so that a mix-up of prompts shows.
    assert_close(
        found.log_prob, log_prob, unlike=np.roll(log_prob, 1, 0), **rounding(any_model, chosen)
    )


def test_a_model_that_always_says_one_object():
    """A planted answer: the hits must then be exactly the boxes with that object."""
    model = tiny_model("gqa", n_layers=2)
    chosen = scenes(15, split="evaluation")
    word = chosen[3].objects[2]
    token = encode(model.tokenizer, all_queries([chosen[3]])).answers[2]
    model.hf.lm_head = OneWord(len(model.tokenizer), int(token))
    found = score_task(model, chosen)
    expected = np.array([[thing == word for thing in scene.objects] for scene in chosen])
    np.testing.assert_array_equal(found.hits, expected)
    assert expected.any() and found.accuracy().value == pytest.approx(expected.mean())


class OneWord(torch.nn.Module):
    """An output layer that gives one token all the probability."""

    def __init__(self, size, token):
        super().__init__()
        self.register_buffer("logits", torch.zeros(size).index_fill(0, torch.tensor([token]), 30.0))

    def forward(self, hidden):
        return self.logits.expand(*hidden.shape[:-1], -1)


def test_more_scenes_than_fit_at_once(model, monkeypatch, tmp_path):
    """Chunks of scenes are put together in order."""
    chosen = scenes(9, split="evaluation")
    whole = score_task(model, chosen)
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(clean_runs, "__kwdefaults__", {"chunk": 4})
    parts = score_task(model, chosen)
    np.testing.assert_array_equal(parts.hits, whole.hits)
    assert_close(parts.log_prob, whole.log_prob, **rounding(model, chosen))


def planted(hits):
    hits = np.asarray(hits, dtype=bool)
    return TaskScores(
        hits=hits, log_prob=np.zeros(hits.shape), model="planted", format="alternative"
    )


def test_accuracy_by_position_reads_columns():
    found = planted(np.arange(100)[:, None] < np.array([90, 30, 60])).by_position()
    assert [e.value for e in found] == pytest.approx([0.9, 0.3, 0.6]) and all(
        e.low < e.value < e.high for e in found
    )


def test_the_interval_resamples_scenes():
    """Scenes that are all right or all wrong count as one observation each."""
    whole_scenes = planted(np.repeat(np.arange(50)[:, None] < 30, 7, axis=1))
    spread = planted(np.random.default_rng(0).random((50, 7)) < 0.6)
    assert whole_scenes.clusters.tolist()[:8] == [0] * 7 + [1]
    assert whole_scenes.accuracy().half_width > 2 * spread.accuracy().half_width
    assert whole_scenes.accuracy().half_width == pytest.approx(1.96 * np.sqrt(0.24 / 50), rel=0.1)


@pytest.mark.parametrize("right", [True, False])
def test_a_perfect_score_still_has_an_interval(right):
    """Forty scenes that are all right do not prove that none can be wrong: the rule of three."""
    found = planted(np.full((40, 7), right)).accuracy()
    assert found.value == float(right) and found.n == 280
    assert_close(found.high - found.low, 3 / 40, terms=1)


def test_ends_over_middle_is_positive_for_a_u():
    hits = np.zeros((20, 5))
    hits[:, [0, 4]] = 1
    hits[:5, 2] = 1
    assert planted(hits).ends_over_middle().value == pytest.approx(1 - 5 / 60)
    assert planted(1 - hits).ends_over_middle().value < 0
    assert (
        planted(np.random.default_rng(1).random((80, 5)) < 0.6).ends_over_middle().excludes(0)
        is False
    )


def test_difference_of_two_models_is_paired_by_prompt():
    first, second = planted(np.ones((30, 7))), planted(np.arange(30)[:, None].repeat(7, 1) < 24)
    found = first.minus(second)
    assert found.value == pytest.approx(0.2) and (found.better, found.worse) == (42, 0)
    assert found.p_value == pytest.approx(2 / 2**6), "six scenes differ"
    with pytest.raises(ConfigError, match="both sides need the same prompts"):
        first.minus(planted(np.ones((29, 7))))


def test_a_family_is_scored_version_by_version(model, monkeypatch):
    """The planted family has two versions; each is asked in both formats by its own weights."""
    other = tiny_model("gqa", seed=1)
    monkeypatch.setattr("entrack.patching.accuracy.versions", lambda family: ("raw", "base"))
    monkeypatch.setattr(
        "entrack.patching.accuracy.load", {"tiny/raw": model, "tiny/base": other}.__getitem__
    )
    chosen = scenes(6, split="evaluation", n_boxes=3)
    found = score_family("tiny", chosen)
    assert list(found) == [
        ("raw", "alternative"),
        ("raw", "standard"),
        ("base", "alternative"),
        ("base", "standard"),
    ]
    for (version, format), scores in found.items():
        own = score_task({"raw": model, "base": other}[version], chosen, format=format)
        # Exactly: the result that was stored.
        np.testing.assert_array_equal(scores.log_prob, own.log_prob)
    assert_apart(
        found["raw", "standard"].log_prob,
        found["base", "standard"].log_prob,
        **rounding(model, chosen),
    )


def test_sizes_are_scenes_of_that_many_boxes(model):
    found = score_sizes(model, 4, sizes=(2, 10), seed=3)
    assert {n: scores.hits.shape for n, scores in found.items()} == {2: (4, 2), 10: (4, 10)}
    own = score_task(model, scenes(4, split="evaluation", n_boxes=10, seed=3))
    np.testing.assert_array_equal(found[10].log_prob, own.log_prob)

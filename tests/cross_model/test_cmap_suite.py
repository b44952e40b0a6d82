"""CMAP and grafts of a whole circuit: which cells there are, and that parts add up to the
donor.
"""

import numpy as np
import pytest
from closeness import additions, assert_apart, assert_close
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.circuits import Circuit
from entrack.cross_model.cmap_suite import cmap, graft_scores
from entrack.errors import ConfigError
from entrack.patching.accuracy import score_task
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SCENES = scenes(3, split="evaluation")


def rounding(model):
    prompts = encode(model.tokenizer, all_queries(SCENES))
    return {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }


def test_a_cmap_has_every_group_its_controls_and_inputs():
    found = cmap(
        fine_tuned(), tiny_model(), CIRCUIT, scenes=SCENES, n_far=2, n_random=2, inputs=True
    )
    assert found.random("C") == ["random C 1", "random C 2"] and found.random("D") == ["random D 1"]
    expected = {
        "A",
        "B",
        "C",
        "D",
        "A and B and C",
        "full circuit",
        "q of A",
        "qkv of B",
        "all others at A",
    }
    assert expected <= set(found.all_labels())
    assert (len(found.near.own_hits), len(found.far.own_hits)) == (21, 14)
    assert_close(found.far.own_log_prob, found.near.own_log_prob[:14], **rounding(tiny_model()))
    assert found.of("D") is found.far and found.of("q of A") is found.near
    with pytest.raises(ConfigError, match="no cell 'E'; there are A, random A 1"):
        found.of("E")


def test_empty_groups_are_left_out():
    partial = Circuit({**HEADS, "structure_reader": (), "position_detector": ()}, "tiny")
    found = cmap(fine_tuned(), tiny_model(), partial, scenes=SCENES, n_far=2)
    assert found.all_labels() == ["A", "B", "A and B"] and found.far is None


def test_grafts_of_nothing_and_of_all_are_the_two_versions():
    base, tuned = tiny_model(), fine_tuned()
    found = graft_scores(base, tuned, CIRCUIT, scenes=SCENES, n_random=1)
    inside = {h for heads in HEADS.values() for h in heads}
    assert found.n_heads["circuit"] == found.n_heads["random 1"] == len(inside) and found.n_heads[
        "others"
    ] == 20 - len(inside)
    none, whole = found.scores["none"].log_prob, found.scores["all"].log_prob
    assert_close(none, score_task(base, SCENES).log_prob, **rounding(base))
    assert_close(whole, score_task(tuned, SCENES).log_prob, unlike=none, **rounding(tuned))
    for part in ("A", "q", "circuit", "others"):
        assert_apart(found.scores[part].log_prob, none, **rounding(base))
    unchanged = graft_scores(base, base, CIRCUIT, scenes=SCENES, n_random=1)
    for scores in unchanged.scores.values():
        assert_close(scores.log_prob, none, **rounding(base))
    assert unchanged.gain("circuit").value == 0


def test_an_exchange_says_who_gives_to_whom_and_what_its_controls_bring():
    found = cmap(
        fine_tuned(), tiny_model(), CIRCUIT, scenes=SCENES, n_far=2, n_random=2, inputs=True
    )
    assert found.title == "gqa into gqa" and found.letters() == ["A", "B", "C", "D"]
    assert [found.n_heads(letter) for letter in "ABCD"] == [2, 2, 2, 1]
    near = found.near
    assert found.edge().value == pytest.approx(near.donor_hits.mean() - near.own_hits.mean())
    drawn = [near.accuracy(f"random A {i}").value for i in (1, 2)]
    over = near.accuracy("A").value - np.mean(drawn)
    assert found.over_random("A").value == pytest.approx(over)
    rest = found.near.hits[found.near.index("all others at A")]
    more = found.near.hits[found.near.index("A")].mean() - rest.mean()
    assert found.over_others("A").value == pytest.approx(more)
    assert found.random_gain("A").value == pytest.approx(found.gain("A").value - over)
    assert found.others("B") == "all others at B" and found.others("D") is None
    above_chance, gain = found.over("q of A", 0.1)
    assert above_chance.value == pytest.approx(near.accuracy("q of A").value - 0.1)
    assert gain == found.gain("q of A") and found.over("q of C", 0.1) is None


def test_what_was_not_run_is_none():
    same = cmap(tiny_model(), tiny_model(), CIRCUIT, scenes=SCENES)
    assert same.closed("A") is None, "no gap to close"
    assert same.closed("full circuit") is None, "not patched"
    assert same.random_gain("A") is None and same.over_random("A") is None
    assert same.over_others("A") is None
    assert same.others("A") is None


def test_the_circuit_of_weights_is_compared_with_all_random_draws():
    found = graft_scores(tiny_model(), fine_tuned(), CIRCUIT, scenes=SCENES, n_random=2)
    drawn = [found.scores[f"random {i}"].accuracy().value for i in (1, 2)]
    inside = found.scores["circuit"].accuracy().value
    assert found.over_random().value == pytest.approx(inside - np.mean(drawn))

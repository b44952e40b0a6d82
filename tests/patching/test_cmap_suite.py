"""Exchanges and grafts of a whole circuit: which cells there are, and that parts add up to the
donor.
"""

import pytest
from closeness import additions, assert_apart, assert_close
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.circuits import Circuit
from entrack.errors import ConfigError
from entrack.patching.accuracy import score_task
from entrack.patching.cmap_suite import content_of_groups, exchange, graft_scores
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


def test_an_exchange_has_every_group_its_controls_and_inputs():
    found = exchange(
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
    found = exchange(fine_tuned(), tiny_model(), partial, scenes=SCENES, n_far=2)
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


def test_what_groups_carry_is_read_with_a_patch_per_group():
    found = content_of_groups(tiny_model(), CIRCUIT, n_scenes=2)
    assert list(found.patches) == ["A", "B", "C"] and found.answers.shape == (3, 14)
    assert found.patches["C"].role == "query_label"
    assert {"object", "position", "label", "unchanged"} == set(found.candidates)

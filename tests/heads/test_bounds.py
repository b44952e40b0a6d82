"""What a circuit is held against: all heads at its tokens, and random heads of its layers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from small_circuit import CIRCUIT

from entrack.circuit.ablation import score_removed
from entrack.circuit.faithfulness import Faithfulness, grow, measure_faithfulness
from entrack.circuit.search import means_over
from entrack.heads.bounds import (
    ALL_CIRCUITS,
    FETCHERS,
    Bounded,
    WithoutFetchers,
    measure_bounded,
    random_in_layers,
    without_fetchers,
)
from entrack.model.answers import answers_of
from entrack.sites import Head
from entrack.tables.circuit import without_fetchers as table_without
from entrack.tables.same_circuit import bounds
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

N = 20


def test_random_heads_are_as_many_in_every_group_and_layer(model):
    drawn = [random_in_layers(model, CIRCUIT, seed=seed) for seed in range(20)]
    for circuit in drawn:
        for name, heads in CIRCUIT.groups.items():
            assert Counter(h.layer for h in circuit.groups[name]) == Counter(h.layer for h in heads)
            assert all(0 <= h.head < model.n_heads for h in circuit.groups[name])
    assert len({str(c.groups) for c in drawn}) > 10, "another draw for another seed"


def test_groups_that_share_a_token_share_no_drawn_head(model):
    layer = tuple(Head(2, head) for head in range(4))
    halves = {"value_fetcher": layer[:2], "position_transmitter": layer[2:]}
    full = replace(CIRCUIT, groups={**CIRCUIT.groups, **halves})
    for seed in range(5):
        drawn = random_in_layers(model, full, seed=seed).groups
        assert {*drawn["value_fetcher"], *drawn["position_transmitter"]} == {*layer}


def test_each_is_scored_as_it_is_alone(model, prompts):
    means = means_over(model, prompts)
    found = measure_bounded(
        model, prompts, circuits=[CIRCUIT, CIRCUIT.only("value_fetcher")], means=means, n_random=2
    )
    every = grow(CIRCUIT, model)["all heads for all groups"]
    drawn = [random_in_layers(model, CIRCUIT, seed=seed) for seed in range(2)]
    alone = measure_faithfulness(model, prompts, circuits=[every, *drawn], means=means)
    assert (found.ceiling == alone.hits[0]).all() and (found.floor == alone.hits[1:]).all()
    assert found.scores.circuits == (CIRCUIT, CIRCUIT.only("value_fetcher"))
    assert len(found.scores.hits) == len(found.scores.random) == 2
    assert (found.scores.full == alone.full).all()


def hits(share):
    return np.arange(N) < share * N


def test_rows_are_paired_with_the_first_circuit():
    kept = (CIRCUIT, CIRCUIT.only("value_fetcher"))
    scores = Faithfulness(
        hits(0.9), np.stack([hits(0.4), hits(0.2)]), hits(0.1)[None], kept, "tiny"
    )
    found = Bounded(scores, hits(0.7), np.stack([hits(0.3), hits(0.1)]))
    assert found.ceiling_accuracy().value == 0.7
    assert found.floor_accuracy().value == pytest.approx(0.2)
    table = bounds({"here": found}, owners=["base", "code"])
    assert [row[0] for row in table.rows] == [
        "base's circuit itself",
        "code's circuit, more",
        "all heads at the same tokens, more",
        "random heads of the same layers, more",
        "random heads, more",
        "whole version, more",
    ]
    values = [row[1].value for row in table.rows]
    assert values == pytest.approx([0.4, -0.2, 0.3, -0.2, -0.3, 0.5])
    assert table.header[1:] == ["in here"]


def test_a_head_that_one_search_missed_is_taken_out_by_another(own_cache):
    """Each of two circuits has one of the two planted fetchers: without one the other does the
    task, and without both none does."""
    model = planted_model("better", VERSIONS["better"])
    asked = encode(model.tokenizer, examples(42, split="evaluation"))
    means = means_over(model, encode(model.tokenizer, examples(28, split="discovery")))
    first, second = (Head(4, 0), Head(4, 1))
    of = PLANTED_CIRCUIT.without
    found = without_fetchers(
        model,
        asked,
        circuits={"a": of(FETCHERS, [second]), "b": of(FETCHERS, [first])},
        apart=("a", "not searched"),
        means=means,
        n_random=3,
    )
    whole = answers_of(model, asked).hit[:, 0].numpy()
    assert (found.hits["nothing"] == whole).all() and whole.mean() > 0.9
    assert found.accuracy("a").value > 0.5 > 0.3 > found.accuracy(ALL_CIRCUITS).value
    assert found.n_heads == {"nothing": 0, "a": 1, ALL_CIRCUITS: 2}
    removed = [PLANTED_CIRCUIT.only(FETCHERS)]
    removed += [random_in_layers(model, removed[0], seed=seed) for seed in range(3)]
    literal = score_removed(model, asked, removed=removed, means=means).hits
    assert (found.hits[ALL_CIRCUITS] == literal[0]).all() and (found.random == literal[1:]).all()


def test_circuits_without_fetchers_take_nothing_away(own_cache):
    model = planted_model("plain", VERSIONS["plain"])
    asked = encode(model.tokenizer, examples(42, split="evaluation"))
    none = PLANTED_CIRCUIT.without(FETCHERS, PLANTED_CIRCUIT.groups[FETCHERS])
    means = means_over(model, asked)
    found = without_fetchers(
        model, asked, circuits={"a": none}, apart=("a",), means=means, n_random=1
    )
    assert set(found.n_heads.values()) == {0}
    assert (found.hits["a"] == found.hits["nothing"]).all()
    assert 0 < found.accuracy("a").value < 1, "the model is right on some, or the test says nothing"


def test_a_version_without_a_search_has_a_dash():
    found = WithoutFetchers(
        {name: hits(0.5) for name in ("nothing", "base", ALL_CIRCUITS)},
        {"nothing": 0, "base": 2, ALL_CIRCUITS: 3},
        np.stack([hits(0.25), hits(0.75)]),
    )
    [row] = table_without({"code": found}, base="base").rows
    assert row[3] == "-" and [e.value for e in (row[1], row[5])] == [0.5, 0.5]

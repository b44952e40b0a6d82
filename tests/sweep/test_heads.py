"""Heads of many searches, read back from words and held against chance."""

import math

import numpy as np
import pytest

from entrack.circuits import Circuit
from entrack.errors import DataError
from entrack.sites import GROUPS, Head
from entrack.sweep.heads import Search, read_heads, searches, shared, times_found
from entrack.sweep.stability import Column
from entrack.tables.circuit import heads_by_name

A, B, C, D = GROUPS


def search(*heads, **groups):
    told = {name: frozenset() for name in GROUPS} | {A: frozenset(map(Head.parse, heads))}
    told |= {name: frozenset(map(Head.parse, listed)) for name, listed in groups.items()}
    return Search(Column("a", 0), "base", told)


def test_what_a_table_names_is_read_back():
    groups = {A: (Head(3, 1), Head(2, 0)), B: (), C: (Head(1, 1),), D: (Head(0, 2),)}
    circuits = {"tiny/base": Circuit(groups, "tiny/base"), "code": Circuit(groups, "code")}
    text = heads_by_name(circuits)
    assert text.startswith("tiny/base: A 2.0 3.1, B -, C 1.1, D 0.2; code: A 2.0")
    read = read_heads(text)
    assert list(read) == ["base", "code"]
    assert read["base"] == {name: frozenset(heads) for name, heads in groups.items()}
    assert read_heads("none was searched") == {}


def test_a_circuit_without_a_group_is_refused():
    with pytest.raises(DataError, match="a circuit of base names the groups value_fetcher; a"):
        read_heads("base: A 1.0")


def test_each_search_counts_once_though_two_chapters_name_it():
    text = "base: A 1.0, B -, C -, D -"
    runs = {
        f"a/{chapter}-seed-0": {"parameters": {"family": "a", "seed": 0}, "heads": heads}
        for chapter, heads in (
            ("03", {"circuit_heads": text}),
            ("04", {"circuit_heads": text, "own_heads": text.replace("base", "code")}),
            ("05", {}),
        )
    }
    found = searches({"runs": runs})
    assert [str(s) for s in found] == ["a, prompts 0: base", "a, prompts 0: code"]


def test_shared_heads_beside_those_of_shuffled_layers():
    one, two = search("0.0", "0.1", "1.0"), search("0.0", "0.2", "1.0", "2.0")
    found = shared(one, two, heads_per_layer=4)
    assert found.shared == 2 and found.most == 3 and found.share == pytest.approx(2 / 3)
    assert found.by_chance == pytest.approx(2 * 2 / 4 + 1 / 4)
    # Layer 1 has its head in common once in four, layer 0 has one or two in five draws of six.
    exact = 1 / 6 + 4 / 6 * 1 / 4
    assert found.p_value == pytest.approx(exact, rel=0.09)
    assert found.excess.value == pytest.approx(0.75) and found.excess.p_value == found.p_value


def test_the_same_heads_are_more_than_chance_and_others_are_not():
    heads = [f"{layer}.{layer % 9}" for layer in range(10)]
    same = shared(search(*heads), search(*heads), heads_per_layer=9)
    moved = [f"{layer}.{(layer + 1) % 9}" for layer in range(10)]
    other = shared(search(*heads), search(*moved), heads_per_layer=9)
    assert same.share == 1 and same.p_value < 0.001
    assert other.share == 0 and other.p_value == 1


def test_a_head_of_two_groups_is_counted_in_each():
    one = search("0.0", **{B: ["0.0"]})
    assert shared(one, one, heads_per_layer=3).shared == 2
    assert shared(one, one, heads_per_layer=3, groups=[B]).shared == 1
    none = shared(one, one, heads_per_layer=3, groups=[C])
    assert math.isnan(none.share) and math.isnan(none.p_value) and none.by_chance == 0


def test_chance_is_what_shuffling_within_layers_gives():
    one, two = search("0.0", "0.1", "1.3"), search("0.1", "0.4", "1.0")
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(4000):
        places = [rng.permutation(5) for _ in range(2)]
        moved = {(h.layer, int(places[h.layer][h.head])) for h in two.groups[A]}
        draws.append(len(moved & {(h.layer, h.head) for h in one.groups[A]}))
    apart = shared(one, two, heads_per_layer=5).by_chance - np.mean(draws)
    assert abs(apart) < 4 * np.std(draws) / len(draws) ** 0.5


def test_heads_by_how_often_they_are_found():
    found = [search("5.0", "1.0"), search("5.0"), search("5.0", "0.3")]
    where = times_found(found, A)
    assert [(str(h), len(s)) for h, s in where.items()] == [("5.0", 3), ("0.3", 1), ("1.0", 1)]

"""Figures of the primer draw the numbers they are given, and their words tell the same."""

import numpy as np
import pytest
import torch
from closeness import assert_printed

from entrack.figures.patching import head_map, layer_curves, pattern_bars
from entrack.model.attention import patterns
from entrack.patching.residual_patching import ResidualPatching
from entrack.sites import Head
from entrack.tables import patching as tables

SIX_DIGITS = 1e-5
"""A live figure keeps six significant digits."""


def curve(name, *shares, floor, n=100):
    expected = np.stack([np.arange(n) < share * n for share in shares])
    nothing = np.zeros(n, dtype=bool)
    return ResidualPatching(
        name,
        "last",
        tuple(range(len(shares))),
        expected,
        ~expected,
        np.arange(n) < floor * n,
        nothing,
        nothing,
        "planted",
    )


def test_curves_and_their_floors():
    live = layer_curves(
        [curve("position", 0.1, 0.6, 0.2, floor=0.1), curve("object", 0, 0, 0.9, floor=0)]
    )
    spec, alt = live.spec, live.alt
    lines = {line["name"]: line for line in spec["data"]}
    assert lines["position"]["y"] == pytest.approx([0.1, 0.6, 0.2]) and lines["position"]["x"] == [
        0,
        1,
        2,
    ]
    assert lines["position, no patch"]["y"] == pytest.approx([0.1, 0.1]) and lines[
        "position, no patch"
    ]["x"] == [0, 2]
    top = lines["position"]["y"][1] + lines["position"]["error_y"]["array"][1]
    assert_printed(top, 0.6906, decimals=4)  # Wilson's interval of 60 of 100
    assert lines["position"]["line"]["color"] != lines["object"]["line"]["color"]
    assert lines["position"]["marker"]["symbol"] != lines["object"]["marker"]["symbol"]
    assert (
        "position up to 0.60 at layer 1, 0.10 without a patch; object up to 0.90 at layer 2" in alt
        and "the last token" in alt
    )


def test_rows_say_where_something_is_carried():
    by_role = {"last": curve("position", 0.1, 0.6, 0.5, floor=0.1)}
    nothing = {"last": curve("label", 0.1, 0.1, 0.12, floor=0.1)}
    (where, name, best, floor, layers), other = tables.carried(
        {"position": by_role, "label": nothing}
    ).rows
    assert (where, name, best.value, layers) == ("last token", "position", 0.6, "1 to 2")
    assert floor == pytest.approx(0.1)
    assert other[4] == "none above the floor"
    above = by_role["last"].over_floor
    assert above.value == pytest.approx(0.5) and (above.better, above.worse) == (50, 0)


def test_only_layers_at_which_an_answer_changes_have_a_row():
    told = {0: ["a", "b"], 3: ["a", "b"], 6: ["a", "c"], 9: ["a", "c"], 10: ["d", "c"]}
    table = tables.answers_by_layer(told)
    assert table.rows == [[0, "a", "b"], [6, "a", "c"], [10, "d", "c"]]
    assert table.header == ["from layer", "pair 1", "pair 2"]


def test_map_of_heads_has_layers_upwards_and_a_ring_at_the_head():
    weights = torch.arange(12.0).reshape(4, 3) / 20
    live = head_map(weights, found=Head(3, 1))
    spec, alt = live.spec, live.alt
    heat, ring = spec["data"]
    assert (
        heat["z"][3][1] == pytest.approx(0.5)
        and heat["y"] == [0, 1, 2, 3]
        and heat["x"] == [0, 1, 2]
    )
    assert (ring["x"], ring["y"]) == ([1], [3])
    assert "the ringed head 3.1 gives it 0.50" in alt and "7 heads give it more than 0.2" in alt


def test_bars_are_the_whole_pattern_once(model, prompts):
    found = patterns(model, prompts, [Head(2, 1), Head(4, 0)], role="last")
    live = pattern_bars(found, 3, head=1)
    spec, alt = live.spec, live.alt
    places = [place for bar in spec["data"] for place in bar["x"]]
    heights = {
        place: y for bar in spec["data"] for place, y in zip(bar["x"], bar["y"], strict=True)
    }
    assert sorted(places) == list(range(prompts.lengths[3]))
    assert list(map(heights.get, range(len(places)))) == pytest.approx(
        found.weights[3, 1, : len(places)].tolist(), rel=SIX_DIGITS
    )
    bars = {bar["name"]: bar for bar in spec["data"]}
    assert bars["right object"]["x"] == [int(prompts.at("correct_object")[3])]
    assert bars["right object"]["text"] == [prompts.examples[3].answer]
    assert sorted(bars["labels"]["text"]) == sorted(prompts.examples[3].scene.labels)
    assert len(bars["other objects"]["x"]) == 6
    assert "head 4.0 from the last token" in alt

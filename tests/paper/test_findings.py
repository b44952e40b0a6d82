"""What follows from the published numbers, recomputed by hand from the paper's tables."""

import pytest
from closeness import assert_printed

from entrack.paper import findings


def test_gains_and_gaps_of_figure_4():
    gains = findings.cmap_gains("value_fetcher")
    assert gains == pytest.approx({"Goat-7B": 0.16, "FLoat-7B": 0.16})
    assert findings.cmap_gains("position_detector")["FLoat-7B"] == pytest.approx(-0.10)
    assert findings.gap_closed() == pytest.approx({"Goat-7B": 1, "FLoat-7B": 1})
    assert findings.in_words(gains) == "+0.16 (Goat-7B), +0.16 (FLoat-7B)"


def test_the_circuit_of_llama_less_the_whole_llama():
    told = "-0.01 (Vicuna-7B), +0.07 (Goat-7B), +0.06 (FLoat-7B)"
    assert findings.circuit_over_base() == told


def test_scores_less_the_floor_that_they_share():
    assert findings.position_floor() == pytest.approx(0.134)
    assert findings.dcm_words("position_transmitter", "position") == "0.36 (5 of 7)"
    assert findings.dcm_words("position_transmitter", "label") == "void"
    assert findings.dcm_score("position_transmitter", "position") == "0.36 (floor 0.13)"
    assert findings.dcm_score("value_fetcher", "object") == "0.47 (floor unknown)"
    above = findings.above_floor(["position_transmitter"])
    assert list(above) == ["Llama-7B", "Vicuna-7B", "Goat-7B", "FLoat-7B"]
    assert set(above["Llama-7B"]) == {
        ("position_transmitter", "object"),
        ("position_transmitter", "position"),
    }
    assert findings.fetching_gain("llama") == 0 < findings.fetching_gain("goat")


def test_wordings_that_keep_half_of_the_plain_score():
    scores = findings.wordings_above_floor(["position", "no_comma", "altered_box_obj_order"])
    for name, printed in {
        "position": 0.23,
        "no_comma": 0.24,
        "altered_box_obj_order": 0.03,
    }.items():
        assert_printed(scores[name], printed, decimals=2)
    assert findings.kept_wordings(["no_comma", "altered_box_obj_order"]) == 1


def test_gains_of_table_1_and_the_ends_of_the_earlier_profile():
    assert findings.gains("vicuna", "goat") == "Vicuna-7B +0.01, Goat-7B +0.16"
    for end, printed in zip(findings.ends_over_middle(), (0.39, 0.36), strict=True):
        assert_printed(end, printed, decimals=2)


def test_blocked_readings():
    """Changes and half-way depths of two curves, and an edge that the paper does not block."""
    fetch, detour = ("last", "correct_object"), ("query_label", "after_prev_query_label")
    assert_printed(findings.knockout_change(fetch), -0.62, decimals=2)
    assert_printed(findings.knockout_half_way(fetch), 0.69, decimals=2)
    assert findings.knockout_half_way(("last", "prev_query_label")) is None, "it costs nothing"
    assert findings.knockout_change(detour) is None is findings.knockout_half_way(detour)

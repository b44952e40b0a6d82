"""The circuit's heads at the last token, all the others there, and all: shares of one gain."""

import numpy as np
import pytest
from closeness import additions, assert_close
from parts_at_last import made
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model

from entrack.circuits import Circuit
from entrack.cross_model.at_last import EVERY, INSIDE, REST, at_last
from entrack.sites import all_heads
from entrack.stats.metrics import Difference
from entrack.tables import improved as tables
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SCENES = scenes(2, split="evaluation")


def test_shares_are_of_the_gain_of_all_heads():
    found = made(inside=60, rest=30, every=70)
    assert found.share(INSIDE).value == pytest.approx(0.8)
    assert found.share(REST).value == pytest.approx(0.2)
    assert found.over_rest().value == pytest.approx(0.3) and found.over_rest().worse == 0
    assert isinstance(found.gain(EVERY), Difference) and found.gain(EVERY).value == 0.5
    assert found.per_head(INSIDE).value == pytest.approx(0.4)
    assert found.per_head(REST).value == pytest.approx(0.1 / 8)


def test_without_a_gain_there_is_no_share():
    assert np.isnan(made(inside=60, rest=30, every=20).share(INSIDE).value)


def test_rows_have_a_share_for_each_part_and_the_difference():
    inside, rest, every, less = tables.shares_at_last({"tuned": made(60, 30, 70)}).rows
    assert [row[0] for row in (inside, less)] == [
        "tuned: A and B",
        "tuned: A and B less all other heads",
    ]
    assert inside[1] == 1 and inside[3] == "+0.4000" and inside[4].value == pytest.approx(0.8)
    assert rest[4].value == pytest.approx(0.2) and every[4] == "-"
    assert less[2].value == pytest.approx(0.3)


def test_the_parts_are_all_heads_at_the_last_token():
    donor, receiver = fine_tuned(), tiny_model()
    found = at_last(donor, receiver, CIRCUIT, scenes=SCENES)
    inside = {*HEADS["value_fetcher"], *HEADS["position_transmitter"]}
    assert found.n_heads == {INSIDE: len(inside), REST: 20 - len(inside), EVERY: 20}
    parts = {cell.label: set(cell.heads["last"]) for cell in found.patched.cells}
    assert parts[INSIDE] == inside and not parts[INSIDE] & parts[REST]
    assert parts[INSIDE] | parts[REST] == parts[EVERY]
    same = at_last(receiver, receiver, CIRCUIT, scenes=SCENES).patched
    prompts = encode(receiver.tokenizer, all_queries(SCENES))
    size = {"terms": additions(receiver, prompts.tokens.shape[1])}
    size["magnitude"] = last_logits(receiver, prompts)
    for row in same.log_prob:
        assert_close(row, same.own_log_prob, unlike=found.patched.log_prob[2], **size)


def test_a_circuit_without_a_head_there_has_no_parts():
    empty = Circuit({**HEADS, "value_fetcher": (), "position_transmitter": ()}, "tiny")
    assert at_last(fine_tuned(), tiny_model(), empty, scenes=SCENES) is None
    whole = Circuit({**HEADS, "value_fetcher": tuple(all_heads(5, 4))}, "tiny")
    assert at_last(fine_tuned(), tiny_model(), whole, scenes=SCENES) is None

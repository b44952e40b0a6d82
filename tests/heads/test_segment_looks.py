"""Attention from tokens of a segment, against a loop over tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from small_circuit import H

from entrack.errors import SiteError, TaskError
from entrack.heads.segment_looks import KINDS, at_another, segment_looks
from entrack.model.attention import patterns
from entrack.tables.circuit import attention_in_segments
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

HEADS = (H(0, 2), H(2, 1), H(4, 3))


def test_roles_move_to_every_other_segment(prompts):
    moved = at_another(prompts)
    labels = prompts.segments["label"]
    slots = (labels == moved.at("prev_query_label")[:, None]).int().argmax(1)
    own = (labels == prompts.at("prev_query_label")[:, None]).int().argmax(1)
    assert (slots != own).all() and len(set(((slots - own) % 7).tolist())) == 6
    rows = torch.arange(len(prompts))
    assert (moved.at("correct_object") == prompts.segments["object"][rows, slots]).all()
    assert (moved.at("after_prev_query_label") == moved.at("prev_query_label") + 1).all()
    for role in ("query_label", "last"):
        assert (moved.at(role) == prompts.at(role)).all()
    assert moved.digest != prompts.digest and (moved.tokens == prompts.tokens).all()
    with pytest.raises(TaskError, match="prompts of different numbers of boxes"):
        at_another(replace(prompts, segments={}))


@pytest.mark.parametrize(
    ("place", "role"),
    [
        ("after every label", "after_prev_query_label"),
        ("every label", "prev_query_label"),
        ("every object", "correct_object"),
        ("last", "last"),
    ],
)
def test_kinds_leave_no_token_out_and_count_none_twice(model, prompts, place, role):
    moved = at_another(prompts)
    found = segment_looks(model, prompts, heads=HEADS, place=place)
    weights = patterns(model, moved, HEADS, role=role).weights
    tokens = weights.shape[-1]
    for example in range(len(prompts)):
        labels = moved.segments["label"][example].tolist()
        objects = moved.segments["object"][example].tolist()
        slot = labels.index(int(moved.at("prev_query_label")[example]))
        here = int(moved.at(role)[example])
        expected = {kind: np.zeros(len(HEADS)) for kind in KINDS}
        for at in range(here + 1):
            if at == here:
                kind = "itself"
            elif at == labels[slot]:
                kind = "own label"
            elif at == objects[slot]:
                kind = "own object"
            elif at in labels:
                kind = "labels before"
            elif at in objects:
                kind = "objects before"
            elif at - 1 in labels:
                kind = "behind labels before"
            else:
                kind = "rest" if at else "first token"
            expected[kind] += weights[example, :, at].double().numpy()
        told = np.stack(list(expected.values()), axis=1)
        assert_close(found.mass[:, :, example], told, terms=tokens, magnitude=weights)
    sums = found.mass.sum(1)
    assert_close(sums, np.ones_like(sums), terms=tokens, magnitude=weights)
    assert (found.mass.mean(-1) > 0).sum() > 10, "there is something to compare"


def test_planted_readers_attend_to_their_own_label():
    planted = planted_model("better", VERSIONS["better"])
    readers = PLANTED_CIRCUIT.groups["structure_reader"]
    found = segment_looks(
        planted,
        encode(planted.tokenizer, examples(14, split="evaluation")),
        heads=(*readers, H(4, 0)),
        place="after every label",
    )
    assert found.of(readers)["own label"].value > 0.9
    table = attention_in_segments(found, {"D": readers, "E": (), "a head": [H(4, 0)]})
    assert [row[0] for row in table.rows] == ["D", "a head"], "an empty group has no row"
    assert table.header[1 + KINDS.index("own label")] == "own label"
    assert table.rows[0][1 + KINDS.index("own label")].value > 0.9
    with pytest.raises(SiteError, match="no attention of 2.2; measured were 1.0 1.1 4.0"):
        found.of([H(2, 2)])
    with pytest.raises(SiteError, match="no attention of no heads"):
        found.of([])

"""Figures and tables of the search draw the numbers they are given, and their words tell the
same."""

import numpy as np
import pytest

from entrack.circuit.discovery import Discovery
from entrack.circuit.faithfulness import Faithfulness, SizeCurve
from entrack.circuit.live_positions import LivePositions
from entrack.circuit.minimality import Minimality
from entrack.circuit.search import FoundCircuit, HeadAttention, attention_of_strongest
from entrack.circuits import Circuit, reads_from
from entrack.figures.circuit import (
    attention_masses,
    circuit_graph,
    depths,
    score_maps,
    size_curve,
)
from entrack.patching.attention_mass import KINDS, attention_mass
from entrack.patching.head_scores import HeadScores
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import exact
from entrack.tables import circuit as tables

EFFECTS = {
    "value_fetcher": {Head(4, 2): -1.0, Head(3, 0): -0.5, Head(4, 0): 0.5},
    "position_transmitter": {Head(2, 1): -0.75},
    "position_detector": {Head(1, 0): -0.25, Head(2, 0): -0.125},
    "structure_reader": {Head(0, 2): -0.5},
}
CIRCUIT = Circuit(
    {
        "value_fetcher": (Head(3, 0),),
        "position_transmitter": (Head(2, 1),),
        "position_detector": (Head(1, 0), Head(2, 0)),
        "structure_reader": (),
    },
    "tiny",
)


def scores(effects):
    """Effects that differ by 0.25 between two pairs, around their means; layer 5 has no path."""
    values = np.zeros((6, 4, 2))
    for head, effect in effects.items():
        values[head.layer, head.head] = [effect - 0.125, effect + 0.125]
    values[5] = np.nan
    return HeadScores(values, "change of the score", np.zeros(2), "planted")


@pytest.fixture
def found():
    receivers = {
        name: tuple(EFFECTS[group.receivers]) if group.receivers else ()
        for name, group in GROUPS.items()
    }
    stages = {name: scores(effects) for name, effects in EFFECTS.items()}
    discovery = Discovery(stages, receivers, "tiny")
    wide = Circuit({**CIRCUIT.groups, "structure_reader": (Head(0, 2),)}, "tiny")
    hits = np.arange(8) < np.array([[2], [6]])
    curve = SizeCurve(
        (0.2, 0.5),
        Faithfulness(np.arange(8) < 7, hits, np.zeros((0, 8)), (CIRCUIT, wide), "tiny"),
        chosen=1,
    )
    nothing = Minimality({}, {}, {}, {}, {}, np.zeros(1), np.zeros(1), wide, 0.01)
    return FoundCircuit(discovery, curve, nothing, CIRCUIT)


def test_maps_hold_every_mean_effect_and_name_the_path(found):
    live = score_maps(found.discovery)
    first = live.spec["data"][0]
    assert first["z"][2][4] == -1.0 and first["z"][0][5] is None, "[head][layer]"
    assert (first["zmin"], first["zmax"]) == (-1.0, 1.0), "zero is in the middle"
    assert [note["text"] for note in live.spec["layout"]["annotations"]] == [
        "A Value fetcher → the logits",
        "B Position transmitter → queries of 3 A heads",
        "C Position detector → values of 1 B heads",
        "D Structure reader → values of 2 C heads",
    ]
    assert live.alt.startswith(
        "The strongest head of each stage: A head 4.2, B head 2.1, C head 1.0, D head 0.2."
    )


def test_size_curve_rings_the_chosen_candidate(found):
    picture = size_curve(found.curve)
    (axes,) = picture.figure.axes
    rings = [line for line in axes.lines if line.get_label() == "chosen"]
    assert [ring.get_xydata().tolist() for ring in rings] == [[[5, 0.75]]]
    assert picture.alt.startswith(
        "The chosen candidate of 5 heads is right on 0.75 of the prompts, the whole model on 0.88."
    )
    assert "from 4 heads (0.25) to 5 (0.75)" in picture.alt


def test_graph_draws_every_head_once_and_leaves_out_an_empty_group(found):
    picture = circuit_graph(CIRCUIT, found.discovery, n_layers=6)
    (axes,) = picture.figure.axes
    drawn = [sorted(dots.get_offsets()[:, 1].tolist()) for dots in axes.collections]
    assert drawn == [[3], [2], [1, 2]]
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == 3, "A to the answer, B to A, C to B; D has no head"
    assert picture.alt.startswith(
        "The circuit keeps 1 value fetcher at the last token; 1 position transmitter at the last"
        " token; 2 position detectors at the query label."
    )


def test_depths_are_relative_and_an_empty_group_has_no_bar():
    picture = depths({"tiny": (CIRCUIT, 6), "other": (CIRCUIT, 11)})
    points = [np.round(line.get_xdata(), 6).tolist() for line in picture.figure.axes[1].lines]
    assert points == [[0.3], [0.3, 0.3], [0.2], [0.2, 0.2], [0.1, 0.2], [0.15, 0.15], []]
    assert "tiny: A 0.60, B 0.40, C 0.30; other: A 0.30, B 0.20, C 0.15" in picture.alt


def test_tables_of_the_search_list_what_was_found(found):
    direct = found.discovery.scores["value_fetcher"]
    assert tables.strongest(direct).rows[:3] == [
        ["4.2", -1.125, -1.0, -0.875, 2],
        ["3.0", -0.625, -0.5, -0.375, 2],
        ["0.0", 0.0, 0.0, 0.0, 0],
    ]
    stages = tables.stages(found).rows
    assert [row[0] for row in stages[::4]] == ["A 4.2", "B 2.1", "C 1.0", "D 0.2"]
    fetchers, *_, readers = tables.groups(found).rows
    assert fetchers == ["A Value fetcher", "last token", 1, 1, "3.0", "4.2 0.0 0.1"]
    assert readers[2:5] == [1, 0, "-"] and readers[5].startswith("0.2")
    assert tables.medians({"tiny": (CIRCUIT, 6)}).rows == [["tiny", 6, "-", "1.5", "2", "3"]]


def test_live_positions_are_compared_on_the_same_prompts():
    live = LivePositions(
        {"few": np.array([1, 0, 0, 0]), "all": np.array([1, 1, 1, 0])},
        {"few": np.array([-1.0, -2, -3, -2]), "all": np.array([-1.0, -1, -1, -1])},
        "tiny",
    )
    assert live.difference("all", "few").value == 0.5
    table = tables.live_tokens(live)
    (few, accuracy, log_prob), _ = table.rows
    assert table.caption.endswith("elsewhere; 4 prompts.")
    assert (few, accuracy.value, log_prob) == ("few", 0.25, -2.0)


def test_attention_is_that_of_the_strongest_kept_heads(model, prompts, found):
    looks = attention_of_strongest(model, prompts, found=found)
    assert [look.name for look in looks] == ["A 3.0", "B 2.1", "C 1.0", "C 2.0"], "D kept none"
    whole = attention_mass(model, prompts, role="query_label").of([Head(1, 0)])
    assert looks[2].shares == whole
    assert looks[2].to("query_label") == whole["itself"], "its own token"
    picture = attention_masses(looks, {"right object": "correct_object", "label": "query_label"})
    shown = [text.get_text() for text in picture.figure.axes[0].texts]
    assert shown[4:6] == [f"{whole[k].value:.2f}" for k in ("correct_object", "itself")]
    assert f"A 3.0 {looks[0].shares['correct_object'].value:.2f}" in picture.alt
    assert tables.attention(looks, n_prompts=7).rows[2][1:3] == [
        "query label",
        "token after earlier label",
    ]


def test_a_reader_at_the_earlier_label_reads_the_object_of_its_segment():
    shares = {kind: exact(i / 10) for i, kind in enumerate(KINDS)}
    role = "prev_query_label"
    look = HeadAttention(
        "structure_reader", Head(0, 0), role, reads_from("structure_reader", role), shares
    )
    assert look.wanted == "correct_object" and look.to(role) == shares["itself"]
    assert reads_from("position_detector", role) == role

"""The mechanism in two tasks: what is patched into what, and how messages are counted."""

import numpy as np
import pytest
from tiny_models import CIRCUIT, tiny_model

from entrack.across import look_up_tables as tables
from entrack.across.look_ups import (
    BOXES,
    CELLS,
    COUNTS,
    LOOK_UPS,
    TaskMessages,
    encode_look_ups,
    look_up_maps,
    look_up_means,
    task_messages,
    told_both_ways,
)
from entrack.circuit.contents import whole_groups
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import Faithfulness
from entrack.circuit.search import CircuitSettings
from entrack.model.activations import mean_z
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.task.boxes import LABELS
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import examples, pairs
from entrack.task.look_ups import as_look_up
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

B = "position_transmitter"
MORE = ("prints", *(label.lower() for label in LABELS))
N = 40


@pytest.fixture(scope="module")
def model():
    return tiny_model(more=MORE)


@pytest.fixture(scope="module")
def items():
    return interchanges(3, split="evaluation")


def test_both_tasks_expect_the_same_answers(model, items):
    told = told_both_ways(model.tokenizer, items)
    boxes = encode_counterfactuals(model.tokenizer, items)
    assert told[BOXES, BOXES].digest == boxes.digest
    for source, base in CELLS:
        data = told[source, base]
        assert data.answers.tolist() == boxes.answers.tolist()
        assert data.source.texts[0].startswith("echo") == (source == LOOK_UPS)
        assert data.base.texts[0].startswith("echo") == (base == LOOK_UPS)
    assert len({data.digest for data in told.values()}) == 4


def test_cells_are_patches_from_the_source_as_told(model, items):
    patches = whole_groups(CIRCUIT, B)
    found = task_messages(model, items, patches=patches, content={B: "position"})
    told = told_both_ways(model.tokenizer, items)
    for cell in CELLS:
        again = patch_pairs(model, told[cell], patches=patches)
        assert (found.patched[cell].answers == again.answers).all()
        assert (found.patched[cell].unpatched == again.unpatched).all()


def test_the_rival_stands_where_the_token_count_says(model, items):
    found = task_messages(model, items, patches={B: Patch("last")}, content={B: "position"})
    told = told_both_ways(model.tokenizer, items)[LOOK_UPS, BOXES]
    for i, item in enumerate(items):
        source, base = told.source, told.base
        labels = base.segments["label"][i].tolist()
        place = int(source.at("prev_query_label")[i])
        back = int(base.lengths[i]) - (int(source.lengths[i]) - place)
        for way, wanted in zip(COUNTS, (place, back), strict=True):
            slot = min(range(7), key=lambda s: (abs(labels[s] - wanted), s))  # noqa: B023
            token = model.tokenizer(f"the {item.base.scene.objects[slot]}")["input_ids"][-1]
            assert found.by_tokens[LOOK_UPS, BOXES][way][i] == token
    # Between prompts of one task both counts agree with the order.
    same = found.patched[BOXES, BOXES].candidates["position"]
    for way in COUNTS:
        assert (found.by_tokens[BOXES, BOXES][way] == same).all()
        assert found.order_over_tokens(BOXES, BOXES, B, way) is None


def answers(hits: int, *, floor: int = 0, rival: int = 0) -> Patched:
    """Of N pairs, the first `hits` follow the position, the last `rival` the count of tokens."""
    said = np.where(np.arange(N) < hits, 1, 0)
    said[N - rival :] = 3
    return Patched(
        patches={B: Patch("last")},
        candidates={"position": np.ones(N, int), "unchanged": np.full(N, 2)},
        answers=said[None],
        unpatched=np.where(np.arange(N) < floor, 1, 2),
        scenes=np.repeat(np.arange(N // 4), 4),
        model="made up",
    )


def made_up() -> TaskMessages:
    patched = {
        (BOXES, BOXES): answers(20, floor=4),
        (LOOK_UPS, BOXES): answers(16, floor=4, rival=8),
        (BOXES, LOOK_UPS): answers(0),
        (LOOK_UPS, LOOK_UPS): answers(0),
    }
    # On the last half of the pairs the count of tokens says something else than the order.
    rivals = dict.fromkeys(COUNTS, np.where(np.arange(N) < N // 2, 1, 3))
    return TaskMessages(patched, {B: "position"}, dict.fromkeys(CELLS, rivals))


def test_scores_are_above_the_floor_and_shares_are_of_the_own_task():
    found = made_up()
    assert found.score(BOXES, BOXES, B).value == pytest.approx(16 / N)
    assert found.score(LOOK_UPS, BOXES, B).value == pytest.approx(12 / N)
    assert found.kept(BOXES, B).value == pytest.approx(12 / 16)
    assert found.lost(BOXES, B).value == pytest.approx(-4 / N)
    assert np.isnan(found.kept(LOOK_UPS, B).value)


def test_order_and_tokens_are_told_apart_only_where_they_differ():
    lead = made_up().order_over_tokens(LOOK_UPS, BOXES, B, COUNTS[0])
    assert lead.n == N // 2 and lead.value == pytest.approx((0 - 8) / (N // 2))
    assert list(tables.leads(made_up(), B)) == list(COUNTS)


def test_means_and_maps_are_of_corrupt_look_ups(model):
    settings = CircuitSettings(
        n_pairs=7, n_means=14, seed=3, discovery=DiscoveryConfig(receiver_share=0.9)
    )
    corrupt = [pair.corrupt for pair in pairs(14, split="discovery", seed=4)]
    by_hand = mean_z(model, encode(model.tokenizer, [as_look_up(c) for c in corrupt]))
    found = look_up_means(model, settings)
    assert found.n == 14 and (found.z == by_hand.z).all()
    maps = look_up_maps(model, settings)
    assert maps.scores["value_fetcher"].values.shape == (model.n_layers, model.n_heads, 7)


def test_tables_and_figure_show_each_cell_at_its_number(model, items):
    found, told = {"code": made_up()}, {B: "B: position"}
    rows = tables.messages(found, patches=told).rows
    assert [row[0] for row in rows] == [f"code does {t}, B: position" for t in (BOXES, LOOK_UPS)]
    assert [e.value for e in rows[0][1:]] == pytest.approx([16 / N, 12 / N, -4 / N])
    picture = tables.followed(found, patches=told)
    drawn = [c.lines[0].get_xdata()[0] for c in picture.figure.axes[0].containers]
    assert drawn == pytest.approx([16 / N, 12 / N, 0, 0])
    assert "code does boxes, B: position: +0.40 by its own task, +0.30 by the other" in picture.alt
    order = tables.order_or_tokens(found["code"], patches=told).rows
    assert [row[1] for row in order] == [N // 2] * 2
    lines = tables.pair(items[0]).rows
    assert lines[0][1].startswith("echo ") and lines[1][1] == items[0].base.text
    asked = examples(1, split="evaluation")[0]
    assert [row[2] for row in tables.tellings(asked).rows] == [asked.answer] * 2
    assert encode_look_ups(model.tokenizer, [asked]).texts[0].count("\n") == 7


def test_a_circuit_is_measured_against_the_task_s_own():
    hits = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    scores = Faithfulness(np.ones(4, bool), hits, hits[2:], (CIRCUIT,) * 3, "made up")
    assert tables.share_of_own(scores, 0, 1).value == pytest.approx(0.5)
    assert tables.share_of_own(scores, 0, 2) is None
    row = tables.circuits_in_tasks({"code, boxes": scores}, owners=["a", "b", "c"]).rows[0]
    assert [cell.value for cell in row[3:]] == [0.5, 1.0, 0.0]

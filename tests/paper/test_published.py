"""The paper's numbers: every item has a source, and numbers that depend on each other agree."""

import math
import statistics

import pytest
from closeness import assert_printed

from entrack.paper import published
from entrack.sites import GROUPS, Head, check_heads
from entrack.task.boxes import ROLES
from entrack.task.desiderata import DESIDERATA

MODELS = ("llama", "vicuna", "goat", "float")
CIRCUITS = ("llama", "goat", "float")
PAIRS = {
    "llama_goat": ("llama", "goat"),
    "llama_float": ("llama", "float"),
    "goat_float": ("goat", "float"),
}
TAGS = {"paper", "repo", "history", "derived", "inferred"}


def heads(circuit):
    """Every (group, head) of a circuit."""
    return {
        (group, head)
        for group, members in published.circuits().values[circuit].items()
        for head in members
    }


@pytest.mark.parametrize("name", published.names())
def test_every_item_has_a_function_and_a_source(name):
    item = getattr(published, name)()
    assert item.name == name and item.values and item.title and item.unit
    assert item.tags and set(item.tags) <= TAGS and item.where
    assert item.source == f"{', '.join(item.tags)}: {item.where}"
    for key, tags in item.tags_of.items():
        assert key in item.values and tags and set(tags) <= set(item.tags)


def test_the_tags_are_explained():
    about = published.about()
    assert set(about["tags"]) == TAGS and all(tag in published.__doc__ for tag in TAGS)
    assert (
        "2402.14811" in about["paper"]
        and "379765d" in about["code"]
        and "379765d" in published.__doc__
    )


def test_table_1():
    table = published.table1().values
    assert {model: row.full for model, row in table.items()} == {
        "llama": 0.66,
        "vicuna": 0.67,
        "goat": 0.82,
        "float": 0.82,
    }
    assert {model: row.circuit for model, row in table.items()} == {
        "llama": 0.66, "vicuna": 0.65, "goat": 0.73, "float": 0.72,
    }  # fmt: skip
    for row in table.values():
        assert row.faithfulness == round(row.circuit / row.full, 2)
        assert row.random <= 0.01
    assert set(published.models().values) == set(table) == set(MODELS)


def test_every_circuit_in_every_model():
    table, crossed = published.table1().values, published.cross_evaluation().values
    for row in crossed.values():
        for model, (accuracy, faithfulness) in row.items():
            # The paper divides rounded accuracies, or rounds their ratio: two units at most.
            assert_printed(accuracy / table[model].full, faithfulness, decimals=2, half_units=2)
    assert {model: accuracy for model, (accuracy, _) in crossed["llama"].items()} == {
        model: row.circuit for model, row in table.items()
    }
    assert crossed["llama_enlarged_175"]["llama"][0] > table["llama"].full


def test_the_circuits_have_72_and_175_heads():
    sizes = {
        c: [len(members) for members in published.circuits().values[c].values()] for c in CIRCUITS
    }
    assert sizes == {"llama": [40, 7, 20, 5], "goat": [68, 28, 40, 39], "float": [68, 29, 40, 38]}
    assert [sum(size) for size in sizes.values()] == [72, 175, 175]
    for circuit in CIRCUITS:
        assert list(published.circuits().values[circuit]) == list(GROUPS)
        assert len(heads(circuit)) == sum(sizes[circuit])
        check_heads([Head(*head) for _, head in heads(circuit)], 32, 32)


def test_overlaps_follow_from_the_circuits():
    for pair, (first, second) in PAIRS.items():
        row = published.overlap().values[pair]
        assert list(row) == [*GROUPS, "all"]
        for group in GROUPS:
            a, b = (set(published.circuits().values[c][group]) for c in (first, second))
            assert row[group] == (len(a), len(b), len(a & b))
        assert row["all"] == tuple(sum(row[group][i] for group in GROUPS) for i in range(3))
    assert published.overlap().values["llama_goat"]["all"].shared == 54
    assert published.overlap().values["llama_float"]["all"].shared == 54
    assert published.overlap().values["goat_float"]["all"].shared == 113
    assert len(heads("llama") & heads("goat") & heads("float")) == 44


def test_overlaps_by_threshold_follow_from_minimality():
    pruned, table = published.minimality().values, published.overlap_by_threshold().values
    for name, threshold in {
        "both_at_1_percent": 0.01,
        "both_at_0_percent": 0,
        "candidates": -math.inf,
    }.items():
        for pair, row in table[name].items():
            for group in GROUPS:
                a, b = (
                    {head.head for head in pruned[c][group].heads if head.gain >= threshold}
                    for c in PAIRS[pair]
                )
                assert row[group] == (len(a), len(b), len(a & b)), (name, pair, group)
            assert row["all"] == tuple(sum(row[group][i] for group in GROUPS) for i in range(3))
    assert table["both_at_1_percent"]["llama_goat"]["all"] == (72, 90, 44)
    assert table["both_at_1_percent"]["llama_float"]["all"] == (72, 97, 42)


def test_pruning_gives_the_released_circuits_at_two_thresholds():
    thresholds = {}
    for circuit, groups in published.minimality().values.items():
        for group, row in groups.items():
            kept = [head.head for head in row.heads if head.gain >= row.threshold]
            assert (
                kept == list(published.circuits().values[circuit][group])
                and len(kept) == row.released
            )
            assert row.kept_at_1_percent == sum(head.gain >= 0.01 for head in row.heads)
            assert row.kept_at_0_percent == sum(head.gain >= 0 for head in row.heads)
            assert row.k == math.ceil(0.3 * len(row.heads)) and row.knockout[0] <= row.knockout[1]
            for head in row.heads:
                if head.accuracy_without:
                    gain = head.accuracy / head.accuracy_without - 1
                    assert_printed(gain, head.gain, decimals=4, half_units=2)
            thresholds.setdefault(circuit, set()).add(row.threshold)
    assert thresholds == {"llama": {0.01}, "goat": {0.0}, "float": {0.0}}
    totals = {
        c: sum(len(row.heads) for row in g.values())
        for c, g in published.minimality().values.items()
    }
    assert totals == {"llama": 90, "goat": 200, "float": 200}


def test_path_patching_scores():
    item = published.path_patching().values
    assert {model: row.seed for model, row in item.items()} == {
        "llama": 20,
        "goat": 82,
        "float": 85,
    }
    assert [stage.candidates for stage in item["llama"].stages.values()] == [58, 10, 25, 5]
    for model in CIRCUITS:
        assert list(item[model].stages) == list(GROUPS)
        for group, stage in item[model].stages.items():
            scores = [score for _, score in stage.top]
            assert scores == sorted(scores) and len(scores) == 20 and sum(stage.signs) == 1024
            assert [head for head, _ in stage.circuit] == list(
                published.circuits().values[model][group]
            )
            assert all(score <= stage.cutoff + 1e-6 for _, score in stage.circuit)
            known = dict(stage.circuit)
            assert all(known[head] == score for head, score in stage.top if head in known)
            assert (stage.receivers is None) == (GROUPS[group].receivers is None)
    best = [[item[m].stages[g].top[0].head for m in CIRCUITS] for g in list(GROUPS)[1:]]
    assert best == [[(14, 27)] * 3, [(10, 3)] * 3, [(8, 21)] * 3]


def test_only_goat_has_an_offset_where_no_head_can_act():
    offsets = {
        model: {stage.offset for stage in row.stages.values()} - {None}
        for model, row in published.path_patching().values.items()
    }
    assert (
        offsets["llama"] == offsets["float"] == {0.0}
        and 0.0 not in offsets["goat"]
        and len(offsets["goat"]) == 3
    )


def test_seed_sweeps():
    assert published.seed_sweeps().values == {
        "llama": {
            "value_fetcher": 0.975,
            "position_transmitter": 0.961,
            "position_detector": 0.93,
            "structure_reader": 1.0,
        },
        "goat": {
            "value_fetcher": 0.945,
            "position_transmitter": 0.937,
            "position_detector": 0.955,
            "structure_reader": 0.86,
        },
    }


def test_completeness():
    item = published.completeness().values
    assert {circuit: len(row.random) for circuit, row in item.items()} == {
        "llama": 10,
        "goat": 20,
        "float": 20,
    }
    gaps = {
        c: round(abs(row.groups["value_fetcher"].circuit - row.groups["value_fetcher"].model), 2)
        for c, row in item.items()
    }
    assert gaps == {"llama": 0.19, "goat": 0.2, "float": 0.43}
    means = {
        c: round(statistics.fmean(abs(a - b) for a, b in row.random), 2) for c, row in item.items()
    }
    for circuit, printed in {"llama": 0.10, "goat": 0.06, "float": 0.09}.items():
        assert_printed(means[circuit], printed, decimals=2, half_units=2)
    assert all(list(row.groups) == list(GROUPS) for row in item.values())


def test_dcm_selects_heads_of_the_circuit():
    for circuit, groups in published.dcm().values.items():
        for group, rows in groups.items():
            members = published.circuits().values[circuit][group]
            assert set(rows) == {"object", "position", "label"}
            for row in rows.values():
                assert row.group == len(members) and set(row.heads) <= set(members)
            assert rows["label"].accuracy == 0.0
    llama = published.dcm().values["llama"]
    assert llama["value_fetcher"]["position"] == ((), 40, 0.134)
    assert (
        len(llama["position_transmitter"]["position"].heads),
        llama["position_transmitter"]["position"].accuracy,
    ) == (5, 0.362)


def test_activation_patching_means_are_those_of_its_runs():
    cells = 0
    for circuit in CIRCUITS:
        for model in MODELS:
            for group in GROUPS:
                for desideratum, cell in (
                    published.activation_patching().values[circuit][model][group].items()
                ):
                    assert len(cell.runs) == 10 and desideratum in DESIDERATA
                    assert_printed(statistics.fmean(cell.runs), cell.mean, decimals=2)
                    assert_printed(statistics.pstdev(cell.runs), cell.sd, decimals=2)
                    assert (cell.mean == 0) == (desideratum == "label")
                    cells += 1
    assert cells == 3 * 4 * 4 * 3


def test_the_papers_gain_of_20_points_is_goats_value_fetchers():
    values = published.activation_patching().values["llama"]
    gain = (
        values["goat"]["value_fetcher"]["object"].mean
        - values["llama"]["value_fetcher"]["object"].mean
    )
    assert gain == pytest.approx(65.88 - 45.60)


def test_variations_are_ours_by_name():
    item = published.variations().values
    assert list(item) == [
        "position",
        *(n for n, d in DESIDERATA.items() if d.origin == "paper, variation"),
    ]
    group = set(published.circuits().values["llama"]["position_transmitter"])
    for row in item.values():
        assert set(row.heads) <= group
        assert_printed(statistics.fmean(row.patched.runs), row.patched.mean, decimals=2)
    assert (
        item["position"].patched
        == (
            published.activation_patching().values["llama"]["llama"]["position_transmitter"][
                "position"
            ]
        )
    )
    assert (
        item["altered_box_obj_order"].dcm_accuracy,
        item["altered_box_obj_order"].patched.mean,
    ) == (0.328, 16.12)
    assert (item["no_comma"].patched.mean, item["incorrect_segment"].patched.mean) == (37.5, 16.16)


def test_cmap_patches_the_heads_that_dcm_selects():
    carried = {
        "value_fetcher": "object",
        "position_transmitter": "position",
        "position_detector": "position",
    }
    for donor, row in published.cmap().values.items():
        assert list(row) == ["full_circuit", *GROUPS] and row["full_circuit"] == (0.82, None)
        for group, desideratum in carried.items():
            assert row[group].heads == len(published.dcm().values[donor][group][desideratum].heads)
        assert row["structure_reader"].heads == len(
            published.circuits().values[donor]["structure_reader"]
        )
    accuracies = {
        d: [cell.accuracy for cell in row.values()] for d, row in published.cmap().values.items()
    }
    assert accuracies == {
        "goat": [0.82, 0.82, 0.78, 0.62, 0.65],
        "float": [0.82, 0.82, 0.74, 0.56, 0.65],
    }
    assert published.cmap_earlier().values["input"]["value_fetcher"]["q"] == 0.77
    assert published.cmap_earlier().tags == ("history",)


def test_knockout_curves_run_over_32_layers_between_known_roles():
    item = published.knockout()
    for edge, curve in item.values.items():
        sender, receiver = edge.split("_to_")
        assert sender in ROLES and receiver in (*ROLES, "random")
        assert len(curve) == 32
        assert_printed(curve[31], 0.66, decimals=2, half_units=2)
    assert [item.values["last_to_correct_object"][i] for i in (0, 16, 20, 22, 25)] == [
        0.04,
        0.06,
        0.21,
        0.41,
        0.6,
    ]
    assert item.values["query_label_to_prev_query_label"][9] == 0.51
    assert (
        min(item.values["last_to_query_label"]) == 0.35
        and min(item.values["last_to_prev_query_label"]) >= 0.65
    )
    assert item.tags_of["last_to_prev_query_label"] == ("history",)


def test_accuracy_by_position_is_u_shaped():
    item = published.accuracy_by_position().values
    curve = item["by_position"]
    for share, printed in zip(curve, (0.97, 0.87, 0.66, 0.49, 0.44, 0.42, 0.93), strict=True):
        assert_printed(share, printed, decimals=2)
    assert curve[0] > curve[3] < curve[6]
    assert_printed(statistics.fmean(curve), item["all"], decimals=2)


def test_slips_and_exhibits_are_told_in_words():
    assert {
        "threshold_mixed",
        "label_target",
        "base_position_zero",
        "goat_o_proj_lora_dropped",
    } <= {slip["name"] for slip in published.slips().values}
    assert all(
        set(slip) == {"name", "title", "where", "effect", "certainty"}
        for slip in published.slips().values
    )
    assert all(
        set(exhibit) == {"name", "what", "status"} for exhibit in published.exhibits().values
    )

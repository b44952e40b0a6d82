"""Which version saw which task, from the recipes of families whose bases were made differently."""

import numpy as np
import pytest
from tiny_models import CIRCUIT

from entrack.across import look_up_tables as tables
from entrack.across.look_ups import BOXES, LOOK_UPS, TASKS
from entrack.across.practised import FORM, last_without, practised, practised_form, subject
from entrack.circuit.faithfulness import Faithfulness
from entrack.finetune.code_data import TEMPLATES
from entrack.finetune.recipes import RECIPES, TRIES
from entrack.task.draws import examples
from entrack.task.look_ups import as_look_up

PRIMED, UNPRIMED = "smollm2", "smollm2-unprimed"


@pytest.mark.parametrize(
    ("family", "version", "tasks"),
    [
        (PRIMED, "raw", set()),
        (PRIMED, "base", {BOXES}),
        (PRIMED, "code", {BOXES, LOOK_UPS}),
        (UNPRIMED, "base", {LOOK_UPS}),
        (UNPRIMED, "code", {LOOK_UPS}),
        (UNPRIMED, "math", {LOOK_UPS}),
        (UNPRIMED, "boxes", {BOXES, LOOK_UPS}),
        ("llama-7b", "float", set()),
    ],
)
def test_practice_adds_up_on_the_way(family, version, tasks):
    assert practised(family, version) == tasks


def test_the_last_version_before_a_practice_is_asked_for():
    assert last_without(PRIMED, "code", LOOK_UPS) == "base"
    assert last_without(UNPRIMED, "code", LOOK_UPS) == "raw"
    # The instructions of `instruct` are no look-ups, but its base has seen some.
    assert last_without(UNPRIMED, "instruct", LOOK_UPS) == "raw"
    assert last_without(UNPRIMED, "code", BOXES) == "base"
    assert last_without(UNPRIMED, "raw", LOOK_UPS) is None


def test_parts_of_mixed_data_count(monkeypatch):
    mixed = TRIES[PRIMED]["math-mixed"]
    monkeypatch.setitem(RECIPES[UNPRIMED], "math", mixed)
    assert practised(UNPRIMED, "math") == {LOOK_UPS, BOXES}
    assert practised(UNPRIMED, "instruct") == {LOOK_UPS}


def test_one_recipe_is_told_in_words():
    told = {version: subject(recipe) for version, recipe in RECIPES[UNPRIMED].items()}
    assert told["base"] == told["code"] == "look-ups"
    assert told["math"] == told["instruct"] == subject(None) == "other data"
    assert subject(RECIPES[PRIMED]["base"]) == told["boxes"] == "boxes"
    assert subject(TRIES[PRIMED]["math-mixed"]) == "boxes and other data"


def test_the_form_is_that_of_the_scenes_and_base_saw_it():
    told = as_look_up(examples(1, split="evaluation")[0]).text.splitlines()
    template = TEMPLATES[FORM]
    name, value = told[0].split(" > ")[1], told[0].split()[1]
    assert told[0] == template.pair.format(name=name, value=value)
    assert told[-1] == template.question.format(name=told[-1].split()[1])
    assert practised_form(UNPRIMED, "base") and practised_form(PRIMED, "code")
    assert not practised_form(PRIMED, "base") and not practised_form(UNPRIMED, "raw")


def answered(n: int) -> Faithfulness:
    hits = np.arange(4) < n
    return Faithfulness(hits, hits[None], hits[None], (CIRCUIT,), "made up")


def test_the_table_says_who_saw_what_and_who_does_it():
    scores = {
        (v, task): answered(n)
        for v, two in {"raw": (0, 1), "base": (2, 3)}.items()
        for task, n in zip(TASKS, two, strict=True)
    }
    seen = {"raw": set(), "base": {LOOK_UPS}}
    rows = tables.practice(scores, seen=seen, form={"raw": False, "base": True}).rows
    assert [row[:4] for row in rows] == [["raw", "no", "no", "no"], ["base", "no", "yes", "yes"]]
    assert [[cell.value for cell in row[4:]] for row in rows] == [[0, 0.25], [0.5, 0.75]]

"""Records of runs: read whole or refused, collected, and told claim by claim."""

import json

import pytest
from judged import HARMS, HELPS, claim

from entrack.errors import DataError
from entrack.stats.metrics import Estimate
from entrack.sweep import records
from entrack.sweep.stability import across


def record(lineage, seed, *claims, chapter="01_x"):
    return {
        "format": 1,
        "chapter": chapter,
        "parameters": {"family": lineage, "seed": seed},
        "stamp": {"versions": {"torch": "2.9"}, "modules": {"entrack.x": "ab"}},
        "execution": {"stamp": "cd", "executed": "2026-01-01", "device": "cpu", "seconds": 3.0},
        "claims": [c.record() for c in claims],
        "numbers": {"n": 3, "circuit_heads": "base: A 1.0, B -, C 2.1, D -"},
    }


@pytest.fixture
def folder(tmp_path):
    made = {
        "a/01-seed-0": record("a", 0, claim("up", HELPS), claim("by", {"v": HELPS, "w": HARMS})),
        "a/01-seed-1": record("a", 1, claim("up", HELPS)),
        "b/01-seed-0": record("b", 0, claim("up", HARMS), claim("by", None)),
    }
    for name, value in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


def collected(folder, *names):
    return records.collect({name: folder / f"{name}.json" for name in names})


ALL = ("a/01-seed-0", "a/01-seed-1", "b/01-seed-0")


@pytest.mark.parametrize("small", [False, True])
def test_each_claim_is_told_by_lineage_and_seed(folder, small):
    told = collected(folder, *ALL)
    found = across(records.stable(told) if small else told)
    assert list(found) == ["up", "by"]
    up, by = found["up"], found["by"]
    assert [(r.lineage, r.seed, r.verdict, r.run) for r in up.readings] == [
        ("a", 0, "replicates", ALL[0]),
        ("a", 1, "replicates", ALL[1]),
        ("b", 0, "does not replicate", ALL[2]),
    ]
    assert up.readings[0].estimates == {"": (HELPS,)} and up.chapter == "01_x"
    assert isinstance(up.readings[0].estimates[""][0], Estimate)
    assert up.verdicts == {"replicates": 2, "does not replicate": 1} and not up.agreed
    assert by.readings[0].estimates == {"v": (HELPS,), "w": (HARMS,)}
    assert by.readings[1].estimates == {} and by.verdicts == {"partly": 1, "not run": 1}


def test_one_run_agrees_with_nobody(folder):
    assert not across(collected(folder, ALL[0]))["up"].agreed
    assert across(collected(folder, *ALL[:2]))["up"].agreed


def test_the_small_record_keeps_what_made_it_and_no_more(folder):
    run = records.stable(collected(folder, ALL[0]))["runs"][ALL[0]]
    assert run["made_by"] == {
        "inputs": "cd",
        "versions": {"torch": "2.9"},
        "executed": "2026-01-01",
        "device": "cpu",
        "seconds": 3.0,
    }
    assert "numbers" not in run and "stamp" not in run
    assert run["heads"] == {"circuit_heads": "base: A 1.0, B -, C 2.1, D -"}


def test_the_same_run_twice_is_refused(folder):
    twice = collected(folder, ALL[0])
    twice["runs"]["again"] = twice["runs"][ALL[0]]
    with pytest.raises(DataError, match="runs a/01-seed-0 and again are the same chapter with"):
        across(twice)


def test_a_claim_of_two_chapters_is_refused(folder):
    told = collected(folder, ALL[0])
    told["runs"]["other"] = record("a", 0, claim("up", HELPS), chapter="02_y")
    with pytest.raises(DataError, match="claim 'up' is judged in 01_x and again in 02_y"):
        across(told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no record of a run in .*; `entrack run --claims .*` writes one"),
        ('{"format": 1', "is not JSON, so no record of a run. Run it again"),
        ('{"format": 0}', "has format 0; this entrack reads 1. Run it again"),
        ("[]", "has format None; this entrack reads 1"),
        ('{"format": 1, "chapter": "x"}', "has no 'parameters', which a record of a run holds"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        records.read_record(tmp_path / "x.json")


def test_nothing_is_written_when_a_record_is_missing(folder, capsys):
    out, small = folder / "claims.json", folder / "stable.json"
    assert records.main([str(folder), str(out), str(small), *ALL, "b/gone"]) == 1
    assert "entrack: no record of a run in" in capsys.readouterr().err
    assert not out.exists() and not small.exists()
    assert records.main([str(folder), str(out), str(small), *ALL]) == 0
    assert list(json.loads(out.read_text())["runs"]) == sorted(ALL)
    assert list(across(json.loads(small.read_text()))) == ["up", "by"]

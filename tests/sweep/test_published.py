"""The published chapters beside a sweep, and the record that is committed of both."""

import json

import pytest
import yaml
from small_book import small_book

from entrack.book.chapters import project
from entrack.book.freshness import get_stamp
from entrack.book.pages import claims, read_notebooks
from entrack.errors import DataError
from entrack.sweep import published as publishing
from entrack.sweep.plan import plan
from entrack.sweep.published import EDITION, READER, TARGET, published

RECORD = json.loads(TARGET.read_text())
ALL = read_notebooks(project().notebooks)
PUBLISHED = {name: run for name, run in RECORD["runs"].items() if f"/{EDITION}/" in name}


def test_the_record_says_what_the_published_chapters_say():
    """Mend with: python -m entrack.sweep.published"""
    judged = [c for c in claims(ALL) if c.chapter != READER]
    now = {(c.chapter, c.record["slug"]): c.record["verdict"] for c in judged}
    family = {n: get_stamp(nb).parameters.get("family") for n, nb in ALL.items() if get_stamp(nb)}
    told = {
        (run["chapter"], c["slug"]): c["verdict"]
        for run in PUBLISHED.values()
        for c in run["claims"]
        if run["parameters"]["family"] == family[run["chapter"]]
    }
    assert told and told == now


def test_runs_in_the_published_sizes_on_another_family_stand_beside_the_published():
    """With the stamp of what made them and parameters that the published chapter has too."""
    others = {n: run for n, run in PUBLISHED.items() if not n.startswith("smollm2/")}
    assert others and all(run["made_by"]["inputs"] and run["claims"] for run in others.values())
    ours = {run["chapter"] for n, run in PUBLISHED.items() if n not in others}
    assert {run["chapter"] for run in others.values()} <= ours


def test_runs_in_the_published_sizes_on_another_family_are_those_of_the_sweeps_table():
    table = yaml.safe_load((project().root / "workflow/stability.yaml").read_text())
    asked = {job["name"]: job for job in plan(table, project()) if job["name"] in PUBLISHED}
    assert set(asked) == {name for name in PUBLISHED if not name.startswith("smollm2/")}
    for name, job in asked.items():
        chapter = project().find(job["chapter"])
        values = {p.name: p.default for p in chapter.parameters}
        values |= chapter.values(job["parameters"])
        assert json.loads(json.dumps(values)) == PUBLISHED[name]["parameters"], name


def test_the_sweep_runs_no_chapter_that_is_not_published():
    swept = {run["chapter"] for name, run in RECORD["runs"].items() if name not in PUBLISHED}
    assert swept <= {run["chapter"] for run in PUBLISHED.values()}


def test_a_published_run_is_named_by_family_edition_chapter_and_seed():
    record = published(project(), ["01"])
    ((name, run),) = record["runs"].items()
    family = run["parameters"]["family"]
    assert name == f"{family}/published/01_task-seed-0" and run["claims"] and run["execution"]


def test_a_chapter_that_is_not_published_is_refused(tmp_path):
    made = small_book(tmp_path)
    (made.notebooks / "status.json").write_text("{}")
    with pytest.raises(DataError, match="chapter 01_double is not published. Run: entrack build"):
        published(made, ["01"])


def test_the_next_record_has_the_sweep_the_chapters_and_those_of_other_families(
    tmp_path, monkeypatch
):
    def run(family, chapter, text):
        return {"parameters": {"family": family}, "chapter": chapter, "claims": [text]}

    committed, source, target = (tmp_path / n for n in ("committed", "stable.json", "recorded"))
    swept = {"a/01_x-seed-0": run("a", "01_x", "swept")}
    swept["b/published/01_x-seed-0"] = run("b", "01_x", "swept in the published sizes")
    before = {
        "old/published/01_x-seed-0": run("old", "01_x", "of the family before"),
        "a/published/01_x-seed-7": run("a", "01_x", "with another seed"),
        "a/01_x-seed-0": run("a", "01_x", "of the sweep before"),
    }
    now = {"format": 1, "runs": {"a/published/01_x-seed-0": run("a", "01_x", "now")}}
    committed.write_text(json.dumps({"format": 1, "runs": before}))
    source.write_text(json.dumps({"format": 1, "runs": swept}))
    monkeypatch.setattr(publishing, "TARGET", committed)
    monkeypatch.setattr(publishing, "published", lambda book, chapters: None)
    monkeypatch.setattr(publishing, "stable", lambda found: now)
    assert publishing.main([str(source), str(target)]) == 0
    told = {n: run["claims"] for n, run in json.loads(target.read_text())["runs"].items()}
    assert told == {
        "a/01_x-seed-0": ["swept"],
        "b/published/01_x-seed-0": ["swept in the published sizes"],
        "old/published/01_x-seed-0": ["of the family before"],
        "a/published/01_x-seed-0": ["now"],
    }


def test_the_chapter_that_reads_the_record_is_not_in_it():
    assert READER not in publishing.judging(project()) and (project().find(READER)).name == READER

"""The published chapters beside a sweep, and the record that is committed of both."""

import json

import pytest
from small_book import small_book

from entrack.book.chapters import project
from entrack.book.freshness import get_stamp
from entrack.book.pages import claims, read_notebooks
from entrack.errors import DataError
from entrack.sweep import published as publishing
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


def test_what_was_published_on_the_family_before_stays_in_the_record():
    """Of every chapter, with the stamp of what made it and the sizes of that time."""
    before = {n: run for n, run in PUBLISHED.items() if n.startswith("smollm2/")}
    assert len(before) == 13 and all(run["made_by"]["inputs"] for run in before.values())
    kept = json.loads((project().root / "book/editions/3.json").read_text())
    told = {c["slug"]: c["measured"] for run in before.values() for c in run["claims"]}
    assert told and told == {slug: kept[slug]["measured"] for slug in told}
    assert {slug for slug in kept if slug not in told} == {
        "stable_lineages", "stable_prompts", "stable_heads"}  # fmt: skip


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

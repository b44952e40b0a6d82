"""The published chapters beside a sweep, and the record that is committed of both."""

import json

import pytest
from small_book import small_book

from entrack.book.chapters import project
from entrack.book.pages import claims, read_notebooks
from entrack.errors import DataError
from entrack.sweep import published as publishing
from entrack.sweep.published import EDITION, TARGET, published

RECORD = json.loads(TARGET.read_text())
PUBLISHED = {name: run for name, run in RECORD["runs"].items() if f"/{EDITION}/" in name}


def test_the_record_says_what_the_published_chapters_say():
    """Mend with: python -m entrack.sweep.published"""
    judged = claims(read_notebooks(project().notebooks))
    chapters = {run["chapter"] for run in PUBLISHED.values()}
    now = {c.record["slug"]: c.record["verdict"] for c in judged if c.chapter in chapters}
    told = {c["slug"]: c["verdict"] for run in PUBLISHED.values() for c in run["claims"]}
    assert told and told == now


def test_every_chapter_of_the_sweep_has_its_published_run():
    swept = {run["chapter"] for name, run in RECORD["runs"].items() if name not in PUBLISHED}
    assert swept == {run["chapter"] for run in PUBLISHED.values()}


def test_a_published_run_is_named_by_family_edition_chapter_and_seed():
    record = published(project(), ["01"])
    ((name, run),) = record["runs"].items()
    assert name == "smollm2/published/01_task-seed-0" and run["claims"] and run["execution"]


def test_a_chapter_that_is_not_published_is_refused(tmp_path):
    made = small_book(tmp_path)
    (made.notebooks / "status.json").write_text("{}")
    with pytest.raises(DataError, match="chapter 01_double is not published. Run: entrack build"):
        published(made, ["01"])


def test_runs_of_a_sweep_are_kept_beside_the_published(tmp_path):
    small = {name: run for name, run in RECORD["runs"].items() if run["chapter"] == "01_task"}
    small = {name: run for name, run in small.items() if name not in PUBLISHED}
    source, target = tmp_path / "stable.json", tmp_path / "recorded.json"
    gone = {"smollm2/published/09_x-seed-0": {"chapter": "09_x"}}
    source.write_text(json.dumps({"format": 1, "runs": small | gone}))
    assert publishing.main([str(source), str(target)]) == 0
    runs = json.loads(target.read_text())["runs"]
    assert set(runs) == {*small, "smollm2/published/01_task-seed-0"}
    assert all(runs[name] == run for name, run in small.items())

"""The benchmark of the 7B shape, on shapes that any machine holds, and on one that none does; that
of the pages, on pages of a line.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NOT_RUN = "The 7B shape was not run: no GPU was at hand."


def benchmark(*arguments, script="seven_b_shape.py"):
    return subprocess.run(
        [sys.executable, FOLDER / script, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent)},
    )


@pytest.mark.slow
def test_a_small_shape_runs_all_four_stages_as_estimated(tmp_path):
    file = tmp_path / "result.json"
    run = benchmark("--layers", "3", "--heads", "2", "--pairs", "7", "--json", str(file))
    assert run.returncode == 0, run.stderr
    found = json.loads(file.read_text())
    assert list(found["stages"]) == ["A", "B", "C", "D"]
    for stage in found["stages"].values():
        # Torch's own attention on a CPU is not counted: the count lies a little below.
        assert 0.9 < stage["counted_over_estimated"] <= 1.01
    assert found["seconds_all_stages"] > 0 and found["machine"]["torch"]
    assert "under 150 s" not in run.stdout, "a smaller shape says nothing about the target"


def test_a_shape_that_no_machine_holds_is_refused_in_a_sentence(tmp_path):
    file = tmp_path / "result.json"
    run = benchmark("--layers", "1000", "--heads", "512", "--pairs", "1", "--json", str(file))
    assert run.returncode == 1 and not file.exists()
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("this shape needs ") and "GB are free on" in line
    assert line.endswith(
        "Run it on a GPU that has them, or a smaller shape with --layers and --heads."
    )
    assert "estimated: " in run.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_pages_are_opened_side_by_side_with_an_empty_one(tmp_path):
    chapters, file = tmp_path / "notebooks", tmp_path / "times.json"
    chapters.mkdir()
    for name in ("01_a", "02_b"):
        (chapters / f"{name}.html").write_text("<!doctype html><title>a</title><p>Text.</p>")
    arguments = ("--pages", str(tmp_path), "--rounds", "2", "--json", str(file))
    run = benchmark(*arguments, script="page_load.py")
    assert run.returncode == 0, run.stderr
    found = json.loads(file.read_text())
    assert list(found["seconds"]) == ["an empty page", "01_a", "02_b"]
    for moments in found["seconds"].values():
        painted, loaded, drawn = moments.values()
        assert len(painted) == len(loaded) == len(drawn) == 2
        assert all(0 < seconds for seconds in painted + loaded)
        assert all(late >= soon for late, soon in zip(drawn, loaded, strict=True))


def test_a_folder_without_pages_is_refused_in_a_sentence(tmp_path):
    run = benchmark("--pages", str(tmp_path), script="page_load.py")
    assert run.returncode == 1
    (line,) = run.stderr.strip().splitlines()
    assert CHROMIUM is None or "build them first (make html)" in line


def test_the_readme_says_what_was_not_run():
    text = (FOLDER / "README.md").read_text()
    assert (NOT_RUN in text) != (FOLDER / "results" / "seven_b_shape.json").exists()

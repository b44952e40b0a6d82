"""The sweep's own environment plans jobs; a dry run computes nothing, and what is missing is
trained first.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = ROOT / ".venv-sweep" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not SNAKEMAKE.exists(), reason="no .venv-sweep with Snakemake; `make sweep` sets it up"
)
TABLE = """
lineages: {smollm2: {versions: [base, code]}}
runs: [{chapter: "01", parameters: {n_scenes: N}, seeds: [0, 1]}]
threads: 1
"""


def sweep(folder, n_scenes, *options):
    (folder / "sweep.yaml").write_text(TABLE.replace("N", str(n_scenes)))
    return subprocess.run(
        [SNAKEMAKE, "workflow/sweep.py", "--configfile", folder / "sweep.yaml", "-n", *options],
        cwd=ROOT,
        env=os.environ | {"ENTRACK_SWEEP": str(folder / "out"), "ENTRACK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("options", [(), ("--profile", "workflow/profiles/slurm")])
def test_each_run_is_planned_once_and_committed_versions_are_not_trained(tmp_path, options):
    done = sweep(tmp_path, 4, *options)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    counts = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert counts["run"] == ["2"] and counts["collect"] == ["1"] and "train" not in counts
    assert not (tmp_path / "out" / "runs").exists()


def test_a_wrong_table_stops_it_with_a_sentence(tmp_path):
    done = sweep(tmp_path, -1)
    assert done.returncode == 1
    assert "n_scenes=-1 is out of range; allowed is an integer in" in done.stdout + done.stderr


FAKE = """#!/bin/sh
echo "$*" >> "$TOLD"
case "$*" in
  "-m entrack.cli train "*) echo '{}' > "models/$6/$4/card.json" ;;
  "-m entrack.cli run "*) for last; do :; done; cp "$RECORD" "$last" ;;
  *) exec "$REAL" "$@" ;;
esac
"""
"""A python that only says that it trained or ran, and does all else."""


def test_a_missing_lineage_is_trained_from_below_before_its_runs(tmp_path):
    """In a copy of the repository whose family lacks the weights of two versions."""
    book, out = tmp_path / "book", tmp_path / "out"
    shutil.copytree(ROOT / "workflow", book / "workflow")
    for name in ("entrack", "notebooks"):
        (book / name).symlink_to(ROOT / name)
    (book / "models").mkdir()
    for path in (ROOT / "models").glob("*.json"):
        shutil.copy(path, book / "models")
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    record = {"format": 1, "chapter": "01_task", "parameters": {"family": "smollm2"}, "claims": []}
    record |= {"stamp": {"versions": {}}, "execution": {"stamp": "ab"}, "numbers": {}}
    (tmp_path / "record.json").write_text(json.dumps(record))
    table = TABLE.replace("N", "4").replace(", seeds: [0, 1]", "")
    (tmp_path / "sweep.yaml").write_text(table)
    told = {
        "ENTRACK_SWEEP": str(out),
        "ENTRACK_PYTHON": str(tmp_path / "python"),
        "TOLD": str(tmp_path / "told"),
        "RECORD": str(tmp_path / "record.json"),
        "REAL": sys.executable,
    }
    command = [SNAKEMAKE, "workflow/sweep.py", "--configfile", tmp_path / "sweep.yaml"]
    done = subprocess.run(
        [*command, "--cores", "1"], cwd=book, env=os.environ | told, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    called = (tmp_path / "told").read_text().splitlines()
    steps = [" ".join(line.split()[2:6]) for line in called if "entrack.cli" in line]
    assert steps == [
        "train base --family smollm2",
        "train code --family smollm2",
        "run 01_task -p family=smollm2",
    ]
    assert list(json.loads((out / "stable.json").read_text())["runs"]) == ["smollm2/01_task-seed-0"]

"""The sweep's own environment plans jobs; a dry run computes nothing."""

import os
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

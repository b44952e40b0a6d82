"""Run the sweep on this machine: `.venv-sweep/bin/python workflow/sweep.py [snakemake's options]`.

One sweep at a time, so a lock that a killed one left behind can be taken away without asking."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMON = [
    "--snakefile",
    str(ROOT / "workflow/Snakefile"),
    "--rerun-incomplete",
    "--keep-going",
    "--show-failed-logs",
    "--rerun-triggers",
    "mtime",
    "params",
    "input",
]


def main(arguments: list[str]) -> int:
    """Snakemake's exit code; 1 and a sentence where a sweep of this clone is running already."""
    folder = Path(os.environ.get("ENTRACK_SWEEP", ROOT / "_build/sweep"))
    folder.mkdir(parents=True, exist_ok=True)
    given = "--configfile" in arguments
    options = [
        *COMMON,
        *([] if given else ["--configfile", str(ROOT / "workflow/sweep.yaml")]),
        *arguments,
    ]
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"a sweep is running in {folder} already; one at a time is possible. Wait for it,"
                " or stop it.",
                file=sys.stderr,
            )
            return 1
        snakemake = [sys.executable, "-m", "snakemake", *options]
        cores = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        if not {"--cores", "--profile", "--executor", "-c", "-j", "--unlock"} & {*arguments}:
            snakemake += ["--cores", cores, "--resources", f"torch={cores}", "gpu=1"]
        if "--profile" not in arguments:
            subprocess.run([*snakemake, "--unlock", "--quiet"], cwd=ROOT, capture_output=True)
        return subprocess.run(snakemake, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The committed book, rendered in a copy: what the tests of its pages open."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CUT = ["unshare", "-rn"]
RENDER = """
import sys
from pathlib import Path
import nbformat
from entrack.book.chapters import Project
from entrack.errors import ChapterError
from entrack.book.rendering import render
book = Project(Path(sys.argv[1]))
pages = {path.stem: nbformat.read(path, 4) for path in book.notebooks.glob("*.ipynb")}
try:
    render(book, pages)
except ChapterError as error:
    sys.exit(str(error))
"""


def network_can_be_cut() -> bool:
    return (
        bool(shutil.which("unshare"))
        and subprocess.run([*CUT, "true"], capture_output=True).returncode == 0
    )


def rendered(copy: Path) -> Path:
    """Render the committed pages and outputs in the empty folder `copy`, with the network cut where
    the system allows it; returns the folder of the pages.

    Outputs are shown as they are, fresh or not: whether they are fresh is another test's question.
    """
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "book", copy / "book")
    (
        shutil.copytree(ROOT / "notebooks", copy / "notebooks")
        if NOTEBOOKS
        else (copy / "notebooks").mkdir()
    )
    (copy / "entrack").symlink_to(ROOT / "entrack")
    (copy / "models").symlink_to(ROOT / "models")
    (copy / "_build").mkdir()
    cut = CUT if network_can_be_cut() else []
    run = subprocess.run(
        [*cut, sys.executable, "-c", RENDER, str(copy)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"ENTRACK_ROOT": str(copy)},
    )
    assert run.returncode == 0, run.stderr
    return copy / "_build" / "html"

"""Put the pages of the book together in a staging folder and render them with Jupyter Book."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout
from nbformat import NotebookNode

from entrack.book.chapters import Chapter, Project
from entrack.book.notebooks import for_readers, with_figures
from entrack.book.pages import STATE
from entrack.display.cells import CLAIMS
from entrack.display.tables import FOLDED
from entrack.errors import ChapterError
from entrack.stats.rules import OF_OURS, VERDICTS

_TOP_FILES = ("_config.yml", "_toc.yml")
_JUPYTER_BOOK = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
_TAIL_LINES = 25
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_TABLE = re.compile(
    r'(<div class="entrack-table".*?<tbody>\n)(.*?)(\n</tbody></table></div>\n?)', re.DOTALL
)
_VERDICT = re.compile(r'data-verdict="([^"]*)"')
_BADGES = tuple(dict.fromkeys(word for v in VERDICTS for word in (v, OF_OURS.get(v, v))))
"""What a badge may say, the best first: of claims of the paper, and of ours."""
_SKIPPED = {"__pycache__", ".ipynb_checkpoints"}


def stage(project: Project, pages: Mapping[str, NotebookNode]) -> Path:
    """Make `_build/staging` hold exactly the book's configuration, its prose, and `pages`; returns
    the folder.

    Files that are the same stay untouched, all others are written or deleted.

    Args:
        project: whose configuration and prose.
        pages: {chapter name: notebook}.

    Raises:
        ChapterError: the configuration is missing.
    """
    staging = project.build / "staging"
    for name in _TOP_FILES:
        if not (project.root / name).is_file():
            raise ChapterError(
                f"no {name} in {project.root}; Jupyter Book needs it. Restore it from the"
                " repository."
            )
    folders = (project.root / "book", project.notebooks)
    files = [project.root / name for name in _TOP_FILES]
    files += [
        path for folder in folders for path in sorted(folder.rglob("*")) if _is_page(path, project)
    ]
    contents = {path.relative_to(project.root): path.read_bytes() for path in files}
    contents |= {
        Path("notebooks", f"{name}.ipynb"): page_bytes(project.find(name), notebook)
        for name, notebook in pages.items()
    }
    if staging.exists():
        for path in sorted(staging.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(staging) not in contents:
                path.unlink()
    for name, data in contents.items():
        path = staging / name
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return staging


def page_bytes(chapter: Chapter, notebook: NotebookNode) -> bytes:
    """What the page of a chapter is rendered from, and readers download: its notebook without what
    no page may hold, and with its long tables of claims in two parts, as JSON in one line, which is
    a tenth smaller than one for version control.
    """
    # What a page leaves out was executed and stamped, so its state is that of the whole notebook.
    page = with_short_tables(with_figures(for_readers(notebook)))
    page.metadata[STATE] = chapter.state(notebook).name
    return nbformat.writes(page, indent=None, separators=(",", ":"), split_lines=False).encode()


def with_short_tables(page: NotebookNode) -> NotebookNode:
    """A copy in which a table of claims with more rows than a page shows at once (`FOLDED`) ends
    after these; the rest stands below it, at a click. Other tables fold as they are made.
    """
    page = copy.deepcopy(page)
    for cell in page.cells:
        for output in cell.get("outputs", []):
            if CLAIMS in output.get("metadata", {}) and "text/html" in output.data:
                output.data["text/html"] = _TABLE.sub(_in_two, output.data["text/html"])
    return page


def _in_two(table: re.Match) -> str:
    opening, body, end = table.groups()
    rows = body.split("\n")
    if len(rows) <= FOLDED:
        return table.group()
    first, rest = ("\n".join(part) for part in (rows[:FOLDED], rows[FOLDED:]))
    verdicts = Counter(_VERDICT.findall(rest))
    told = ", ".join(f"{verdicts[name]} {name}" for name in _BADGES if verdicts[name])
    n = len(rows) - FOLDED
    more = f"{n} more claim{'s' if n > 1 else ''}: {told}"
    return (
        f"{opening}{first}{end}"
        f'<details class="entrack-long"><summary>{more}</summary>'
        f"{opening}{rest}{end}</details>\n"
    )


def _is_page(path: Path, project: Project) -> bool:
    if not path.is_file() or _SKIPPED & set(path.parts):
        return False
    return path.parent != project.notebooks or path.suffix not in {".py", ".ipynb"}


def render(
    project: Project, pages: Mapping[str, NotebookNode], *, log: Callable[[str], None] = print
) -> Path:
    """Render the book to `_build/html`; returns its first page, which opens from the file system.

    Every page is rendered anew: Sphinx does not know that a page shows a number from another one. A
    warning is an error. Raises ChapterError with the warnings, the whole output being in
    `_build/render.log`, and when another process is rendering."""
    project.build.mkdir(exist_ok=True)
    try:
        with FileLock(project.build / "lock", timeout=0):
            return _render(project, stage(project, pages), log)
    except Timeout:
        raise ChapterError(
            f"the book is being rendered in {project.build} already; one at a time is possible."
            " Wait for it to end."
        ) from None


def _render(project: Project, staging: Path, log: Callable[[str], None]) -> Path:
    log("rendering")
    shutil.rmtree(
        project.build / "html", ignore_errors=True
    )  # pages that are gone must not stay readable
    command = [
        sys.executable,
        "-c",
        _JUPYTER_BOOK,
        "build",
        str(staging),
        "--path-output",
        str(project.root),
        "-W",
        "--keep-going",
        "-n",
        "--all",
    ]
    environment = os.environ | {"ENTRACK_ROOT": str(project.root)}
    done = subprocess.run(
        command,
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    text = _COLOURS.sub("", done.stdout).replace(f"{staging}{os.sep}", "")
    (project.build / "render.log").write_text(text)
    index = project.build / "html" / "index.html"
    if done.returncode or not index.exists():
        lines = text.strip().splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines
        raise ChapterError(
            "the book was not rendered cleanly; a warning counts as an error:\n"
            + "\n".join(f"    {line}" for line in told[-_TAIL_LINES:])
            + "\nThe whole output is _build/render.log."
        )
    return index

"""What the book says about itself, read from what was executed: its claims, its models, and when
each chapter ran.

Nothing is typed here. Claims are the records in the chapters' outputs, and the status is what the
executions recorded. `book/_ext/record_pages.py` puts
them on pages when the book is rendered."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from entrack.book.chapters import NUMBER, Project
from entrack.book.freshness import get_stamp
from entrack.display.cells import CLAIMS
from entrack.display.tables import table_html
from entrack.errors import ChapterError
from entrack.stats.rules import OF_OURS, VERDICTS

_STATUS_FILES = ("_build/timings.json", "notebooks/status.json")  # executed here, and published


@dataclass(frozen=True)
class JudgedClaim:
    """A claim as a chapter recorded it, and where the chapter shows it.

    Attributes:
        chapter: name of the notebook; title: of the chapter; anchor: of the section that the table
            stands in.
        record: what `stats.claims.Claim.record` gave.
    """

    chapter: str
    title: str
    anchor: str
    record: Mapping[str, object]

    @property
    def verdict_words(self) -> str:
        """The verdict as readers see it."""
        verdict = str(self.record["verdict"])
        return OF_OURS.get(verdict, verdict) if self.record["ours"] else verdict


def claims(notebooks: Mapping[str, NotebookNode]) -> list[JudgedClaim]:
    """Every claim that executed notebooks recorded, in order.

    Raises ChapterError for a slug that two records share.
    """
    found: list[JudgedClaim] = []
    for name, notebook in notebooks.items():
        title, heading = name, ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^(#+) (.+)$", cell.source, flags=re.MULTILINE)
                title = next((text for level, text in headings if level == "#"), title)
                heading = headings[-1][1] if headings else heading
            for output in cell.get("outputs", []):
                for record in _records(output):
                    found.append(JudgedClaim(name, title, _anchor(heading), record))
    slugs = [claim.record["slug"] for claim in found]
    repeated = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if repeated:
        raise ChapterError(
            f"claim {repeated!r} is judged twice in the book; each has a slug of its own. Rename"
            " one."
        )
    return found


def _records(output: NotebookNode) -> list[dict]:
    """The claims of an output as executed, or as put on a page (`notebooks.with_figures`)."""
    return output.get("data", {}).get(CLAIMS) or output.get("metadata", {}).get(CLAIMS, [])


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def summary(found: Sequence[JudgedClaim]) -> str:
    """How the claims of the paper came out, in a sentence."""
    counts = Counter(claim.record["verdict"] for claim in found if not claim.record["ours"])
    words = {
        "replicates": ("replicates", "replicate"),
        "partly": ("replicates in part", "replicate in part"),
        "does not replicate": ("does not replicate", "do not replicate"),
        "undecided": ("is undecided within our intervals", "are undecided within our intervals"),
        "not run": ("was not run here", "were not run here"),
    }
    if not counts:
        return "No chapter that judges a claim of the paper has been executed yet."
    told = [
        f"{counts[verdict]} {words[verdict][counts[verdict] > 1]}"
        for verdict in VERDICTS
        if counts[verdict]
    ]
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    return f"Of {sum(counts.values())} claims of the paper put to the test in this book, {listed}."


def claims_html(found: Sequence[JudgedClaim], *, link: str) -> str:
    """A table of claims for each table of a chapter; `link` is a format with {chapter} for the
    address of a chapter's page.
    """
    parts = []
    for (chapter, title, anchor), group in groupby(
        found, key=lambda c: (c.chapter, c.title, c.anchor)
    ):
        rows = [
            [
                c.record["text"],
                _paper(c.record),
                c.record["measured"],
                c.verdict_words,
                c.record["rule"],
            ]
            for c in group
        ]
        caption = f"Chapter {chapter[:2]}: {title}", f"{link.format(chapter=chapter)}#{anchor}"
        header = ["claim", "the paper", "here", "verdict", "rule"]
        parts.append(table_html(rows, header, caption=caption))
    return '<div class="entrack-claims">' + "".join(parts) + "</div>"


def _paper(record: Mapping[str, object]) -> str:
    if record["ours"]:
        return "-"
    return f"{record['paper']} ({record['source']})" if record["source"] else str(record["paper"])


def status_html(project: Project, notebooks: Mapping[str, NotebookNode]) -> str:
    """For each chapter: state of its stamp, when it was executed, on what, how long, and with what
    parameters.
    """
    known = [
        json.loads(path.read_bytes())
        for path in (project.root / name for name in _STATUS_FILES)
        if path.is_file()
    ]
    rows = []
    for chapter in project.chapters():
        notebook = notebooks.get(chapter.name)
        if notebook is None:
            rows.append([chapter.title, "unexecuted", *["-"] * 5])
            continue
        stamp, state = get_stamp(notebook), chapter.state(notebook)
        record = next(
            (
                r[chapter.name]
                for r in known
                if r.get(chapter.name, {}).get("stamp") == (stamp and stamp.inputs)
            ),
            {},
        )
        values = ", ".join(f"{k} = {v}" for k, v in (stamp.parameters if stamp else {}).items())
        rows.append(
            [
                chapter.title,
                state.name,
                record.get("executed", "not recorded"),
                _seconds(record, "seconds"),
                _seconds(record, "seconds_from_nothing"),
                values or "none",
                _machine(record) or "not recorded",
            ]
        )
    return table_html(
        rows,
        ["chapter", "stamp", "executed", "took", "from nothing", "parameters", "on"],
        caption=(
            "When and how each chapter was executed last. Results that were stored before cost next"
            " to nothing; with none of them, a chapter takes the time from nothing. Chapters share"
            " results, so all of them together take less than the sum."
        ),
    )


def _seconds(record: Mapping, name: str) -> str:
    return f"{record[name]:.0f} s" if name in record else "not recorded"


def _machine(record: Mapping) -> str:
    """The device, its name, threads and memory of a recorded execution, in words."""
    words = [str(record[key]) for key in ("device", "device_name") if record.get(key)]
    words += (
        [f"{record['torch_threads']} thread{'' if record['torch_threads'] == 1 else 's'}"]
        if "torch_threads" in record
        else []
    )
    return ", ".join(
        words
        + (
            [f"{record['peak_memory_mb'] / 1000:.1f} GB at most"]
            if "peak_memory_mb" in record
            else []
        )
    )


def read_notebooks(folder: Path) -> dict[str, NotebookNode]:
    """{chapter name: notebook} of the executed notebooks in a folder, in order."""
    return {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(folder.glob(f"{NUMBER}_*.ipynb"))
    }

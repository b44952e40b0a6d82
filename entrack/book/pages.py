"""What the book says about itself, read from what was executed: its claims, its models, and when
each chapter ran.

Nothing is typed here. Claims are the records in the chapters' outputs, and the status is what the
executions recorded. The Sphinx hooks in `book/_ext/` put them on pages."""

import copy
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median

import nbformat
from nbformat import NotebookNode

from entrack.book.chapters import NUMBER, Chapter, Project
from entrack.book.freshness import get_stamp
from entrack.book.parameters import Value
from entrack.display.cells import CLAIMS
from entrack.display.tables import Table, table_html
from entrack.errors import ChapterError
from entrack.stats.rules import OF_OURS, VERDICTS

STATUS_FILES = {"full": "status.json", "quick": "quick_status.json"}  # in notebooks/, committed
_STATUS_FILES = ("_build/timings.json", "notebooks/status.json")  # executed here, and published

# In a page's metadata: the state of its stamp before cells and pictures were left out.
STATE = "entrack_state"
EDITION = "entrack_edition"  # in a page's metadata: which edition it shows, if not the full one


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

    @property
    def paper_words(self) -> str:
        """The paper's number with its source; "-" for a claim of our own."""
        if self.record["ours"]:
            return "-"
        source = f" ({self.record['source']})" if self.record["source"] else ""
        return f"{self.record['paper']}{source}"


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
                c.paper_words,
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
        stamp = get_stamp(notebook)
        state = notebook.metadata.get(STATE) or chapter.state(notebook).name
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
                state,
                record.get("executed", "not recorded"),
                _seconds(record, "seconds"),
                _seconds(record, "seconds_from_nothing"),
                values or "none",
                machine_words(record) or "not recorded",
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


def notice(edition: str, values: Mapping[str, object], record: Mapping) -> str:
    """The note at the top of a page that does not show the published execution, in MyST.

    values: {parameter: value} that differ from the source's; record: of the execution.
    """
    given = ", ".join(f"`{name}` = {value}" for name, value in values.items())
    told = f"with {given} instead of the values below" if given else "with the values below"
    return (
        f":::{{admonition}} {edition.capitalize()} edition\n:class: important\n"
        f"Executed {record.get('executed', 'at a time not recorded')} on"
        f" {machine_words(record) or 'a machine not recorded'} in {_seconds(record, 'seconds')},"
        f" {told}. The published numbers come from the full edition.\n:::"
    )


def with_notice(page: NotebookNode, note: str, edition: str) -> NotebookNode:
    """A copy of the page with `note` under its title, marked as of `edition`."""
    page = copy.deepcopy(page)
    page.metadata[EDITION] = edition
    lines = page.cells[0].source.split("\n")
    under = next((i + 1 for i, line in enumerate(lines) if line.startswith("# ")), 0)
    page.cells[0].source = "\n".join([*lines[:under], "", note, "", *lines[under:]])
    return page


def editions_html(project: Project) -> str:
    """Sizes, times and cost of both editions, a row for each chapter and edition; "not run" for the
    times of one without an execution on record.
    """
    rows = []
    for chapter in project.chapters():
        for name in STATUS_FILES:
            values, record = recorded(chapter, name)
            sizes = ", ".join(f"{key} = {value}" for key, value in values.items())
            times = [_seconds(record, key) for key in ("seconds", "seconds_from_nothing")]
            rows.append(
                [chapter.title, name, sizes or "none"]
                + ([*times, machine_words(record) or "not recorded"] if record else ["not run"] * 3)
            )
    return table_html(
        rows,
        ["chapter", "edition", "sizes", "took", "from nothing", "on"],
        caption="Sizes and times of both editions",
    )


def recorded(chapter: Chapter, edition: str) -> tuple[dict[str, Value], Mapping]:
    """{parameter: value} of a chapter's sizes in an edition, and the record of its execution with
    them; {} where there is none: of an execution with other sizes, or on another family, the times
    say nothing.
    """
    path = chapter.project.notebooks / STATUS_FILES[edition]
    records = json.loads(path.read_bytes()) if path.is_file() else {}
    record = records.get(chapter.name, {})
    values = {p.name: p.default for p in chapter.parameters if p.kind in ("int", "float")}
    values |= chapter.project.edition(edition).of(chapter)
    values.pop("seed", None)
    given = record.get("parameters", {})
    made = values | {p.name: p.default for p in chapter.parameters if p.name == "family"}
    return values, record if all(given.get(k) == v for k, v in made.items()) else {}


def page_times_html(file: Path) -> str:
    """How soon each chapter's page shows, as `benchmarks/page_load.py` wrote it into `file`: a
    sentence on the slowest and a table; where there is no file, a sentence that says so.
    """
    if not file.is_file():
        return "How soon the pages show was not measured."
    record = json.loads(file.read_bytes())
    rows, middles = [], []
    for name, moments in record["seconds"].items():
        known = [[s for s in found if s is not None] for found in moments.values()]
        rows.append([name, *(f"{median(s):.2f} ({max(s):.2f})" if s else "-" for s in known)])
        middles.append([median(s) if s else 0 for s in known])
    painted, _, drawn = map(max, zip(*middles, strict=True))
    on = f"{record['browser']}, {record['machine']['processor']}, {record['rounds']} openings each"
    caption = f"Seconds until a page shows, median (longest): {on}"
    header = ["page", "first text painted", "loaded", "all drawn"]
    return (
        f"<p>From disk, the slowest shows its first text after {painted:.1f} s, and the slowest is"
        f" all drawn after {drawn:.1f} s.</p>" + Table(rows, header, caption, folded=True).html
    )


def _seconds(record: Mapping, name: str) -> str:
    return f"{record[name]:.0f} s" if name in record else "not recorded"


def machine_words(record: Mapping, *, memory: bool = True) -> str:
    """The device, its name, threads and, with `memory`, the memory of a recorded execution."""
    words = [str(record[key]) for key in ("device", "device_name") if record.get(key)]
    if "torch_threads" in record:
        words.append(
            f"{record['torch_threads']} thread{'' if record['torch_threads'] == 1 else 's'}"
        )
    if memory and "peak_memory_mb" in record:
        words.append(f"{record['peak_memory_mb'] / 1000:.1f} GB at most")
    return ", ".join(words)


def read_notebooks(folder: Path) -> dict[str, NotebookNode]:
    """{chapter name: notebook} of the executed notebooks in a folder, in order."""
    return {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(folder.glob(f"{NUMBER}_*.ipynb"))
    }

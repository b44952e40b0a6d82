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
from html import escape
from itertools import groupby
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from entrack.book.chapters import NUMBER, Project
from entrack.book.freshness import get_stamp
from entrack.display.cells import CLAIMS
from entrack.display.tables import badge, table_html
from entrack.errors import ChapterError
from entrack.stats.rules import OF_OURS, VERDICTS

STATUS_FILES = {"full": "status.json", "quick": "quick_status.json"}  # in notebooks/, committed
_STATUS_FILES = ("_build/timings.json", "notebooks/status.json")  # executed here, and published

FINDINGS = {
    "i": "The same circuit is there",
    "ii": "It does the same job",
    "iii": "It does the job better",
}
"""What the paper found, in its order."""
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


def badge_html(claim: JudgedClaim, *, link: str) -> str:
    """The verdict of a claim as a badge that leads to `link`."""
    told = f"{claim.record['text']}: {claim.verdict_words}"
    title = f' title="{escape(told)}"'
    return f'<a class="reference internal" href="{link}"{title}>{badge(claim.verdict_words)}</a>'


def findings_html(found: Sequence[JudgedClaim], *, up: str) -> str:
    """A card for each of the paper's findings: how its claims came out, and those of ours about it.

    up: the way from the page to the book's root."""
    cards = []
    for finding, title in FINDINGS.items():
        mine = [claim for claim in found if claim.record["finding"] == finding]
        lines = [f'<p class="title">({finding}) {title}</p>']
        for ours, whose in ((False, "The paper's claims"), (True, "Tests of ours")):
            counts = Counter(c.verdict_words for c in mine if c.record["ours"] == ours)
            badges = ", ".join(f"{n} {badge(verdict)}" for verdict, n in counts.items())
            lines += [f"<p>{whose}: {badges}</p>"] if badges else []
        chapters = dict.fromkeys((claim.chapter, claim.title) for claim in mine)
        links = "; ".join(f'<a href="{up}notebooks/{c}.html">{escape(t)}</a>' for c, t in chapters)
        cards.append(f"<section>{''.join(lines)}<p>{links or 'not run here'}</p></section>")
    return f'<div class="entrack-findings">{"".join(cards)}</div>'


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


def notice(edition: str, values: Mapping[str, object], record: Mapping) -> str:
    """The note at the top of a page that does not show the published execution, in MyST.

    values: {parameter: value} that differ from the source's; record: of the execution.
    """
    given = ", ".join(f"`{name}` = {value}" for name, value in values.items())
    told = f"with {given} instead of the values below" if given else "with the values below"
    return (
        f":::{{admonition}} {edition.capitalize()} edition\n:class: important\n"
        f"Executed {record.get('executed', 'at a time not recorded')} on"
        f" {_machine(record) or 'a machine not recorded'} in {_seconds(record, 'seconds')}, {told}."
        " The published numbers come from the full edition.\n:::"
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
        for name, file in STATUS_FILES.items():
            path = project.notebooks / file
            records = json.loads(path.read_bytes()) if path.is_file() else {}
            record = records.get(chapter.name, {})
            values = {p.name: p.default for p in chapter.parameters if p.kind in ("int", "float")}
            values |= project.edition(name).of(chapter)
            values.pop("seed", None)
            sizes = ", ".join(f"{key} = {value}" for key, value in values.items())
            # Of an execution with other sizes, the times say nothing about these.
            given = record.get("parameters", {})
            ran = bool(record) and all(given.get(key) == value for key, value in values.items())
            times = [_seconds(record, key) for key in ("seconds", "seconds_from_nothing")]
            rows.append(
                [chapter.title, name, sizes or "none"]
                + ([*times, _machine(record) or "not recorded"] if ran else ["not run"] * 3)
            )
    return table_html(
        rows,
        ["chapter", "edition", "sizes", "took", "from nothing", "on"],
        caption="Sizes and times of both editions",
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

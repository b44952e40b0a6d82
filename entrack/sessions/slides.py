"""The slides of each session, cut from the built pages: nothing on them is written twice.

A deck is one HTML file that opens from the file system, with the scripts of live figures beside it.
Its words are those of the session's page and of the chapters' first paragraphs, its figures the
chapters' own, its verdicts the records in their outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from nbformat import NotebookNode

from entrack.book.chapters import Chapter, Project
from entrack.book.pages import claims
from entrack.book.rendering import page_bytes
from entrack.course.editions import write_edition
from entrack.course_errors import ExerciseError
from entrack.display.tables import table_html
from entrack.errors import ChapterError
from entrack.sessions.page import Element, read_page
from entrack.sessions.plan import Session, sessions

SECTIONS = ("Objectives", "Discussion", "Project")
"""What a session's page must have for its slides."""
_ASSETS = {
    'class="live-figure"': ("plotly.min.js", "live-figures.js"),
    'class="math': ("mathjax-tex-svg.js",),
}
_STRIPS = 'class="entrack-strips"'
_HEADINGS = ("h1", "h2", "h3")
_TALL, _TOWER = (
    0.75,
    1.4,
)  # height over width, from which a figure stands beside its caption; scrolls
_DECK = """\
<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
<script>
{script}</script>
</head>
<body>
<main>
{slides}
</main>
{assets}
</body>
</html>
"""


@dataclass(frozen=True)
class Slide:
    """One slide.

    Attributes:
        kind: "title", "words", "figure" or "table", for its looks; with " tall" or " tower".
        above: the small line over its heading; "" for none.
        heading: its heading, as HTML.
        body: the rest, as HTML.
    """

    kind: str
    above: str
    heading: str
    body: str


def build_slides(
    project: Project, pages: Mapping[str, NotebookNode], *, log: Callable[[str], None] = print
) -> Path:
    """Write a deck for each session, and a zip of all, to `_build/course`; returns their folder.

    Args:
        project: whose pages are built (`make html`).
        pages: {chapter name: the published notebook with today's prose}.
        log: takes the line about what was written.

    Raises:
        ChapterError: a page is not built, or was built from another text or other outputs.
        ExerciseError: a session's page lacks one of SECTIONS, or its plan is not right.
    """
    decks = {f"{s.name}.html": deck(s, pages, project=project) for s in sessions(project)}
    vendor = project.root / "book" / "vendor"
    needed = {name for text in decks.values() for name in _assets(text)}
    files = {f"assets/{name}": (vendor / name).read_bytes() for name in sorted(needed)}
    files |= {name: text.encode() for name, text in decks.items()}
    return write_edition(project.build / "course", "slides", files, log=log)


def deck(session: Session, pages: Mapping[str, NotebookNode], *, project: Project) -> str:
    """The HTML of one session's slides; raises as `build_slides` does."""
    page = _built(project, session.page, session.path.read_bytes(), session.path.suffix)
    first, *others = _of_session(session, page)
    slides = [first, *others[:1]]
    for chapter in session.chapters:
        slides += _of_chapter(chapter, pages[chapter.name])
    slides += others[1:]
    shown = "\n".join(_slide(slide, i, len(slides)) for i, slide in enumerate(slides, 1))
    vendor = project.root / "book" / "vendor"
    sheets = ["slides.css", *(["strips.css"] if _STRIPS in shown else [])]
    return _DECK.format(
        title=escape(_text(page, "h1")),
        style="\n".join((vendor / sheet).read_text() for sheet in sheets),
        script=(vendor / "slides.js").read_text(),
        slides=shown,
        assets="\n".join(f'<script src="assets/{name}"></script>' for name in _assets(shown)),
    )


def _of_session(session: Session, page: Element) -> list[Slide]:
    """The title, and a slide for each of SECTIONS."""
    top = _found(page, "section")
    lead = [c.html() for c in top.children if isinstance(c, Element) and c.name == "p"]
    keys = "<p class='keys'>→ next, ← back, T light or dark, print for a PDF</p>"
    slides = [Slide("title", "", escape(_text(page, "h1")), "\n".join([*lead, keys]))]
    for heading in SECTIONS:
        section = _found(page, "section", heading.lower())
        if section is None:
            raise ExerciseError(
                f"the page of {session.name} has no section {heading!r}, which its slides show;"
                f" there must be {', '.join(SECTIONS)}. Write it."
            )
        body = [c for c in section.children if not _is_heading(c)]
        text = "".join(c if isinstance(c, str) else c.html() for c in body)
        slides.append(Slide("words", escape(_text(page, "h1")), heading, text))
    return slides


def _of_chapter(chapter: Chapter, notebook: NotebookNode) -> list[Slide]:
    """Its question, its figures in order, and its verdicts."""
    source = page_bytes(chapter, notebook)
    page = _built(chapter.project, f"notebooks/{chapter.name}", source, ".ipynb")
    number = chapter.name[:2].lstrip("0")
    title = _text(page, "h1")
    above = escape(f"Chapter {number}: {title}")
    question = _found(page, "p")
    heading, slides = escape(title), []
    for element in page.walk():
        if _is_heading(element):
            heading = escape(element.text())
        elif element.name == "figure":
            slides.append(Slide(_shape(element), above, heading, element.html()))
    place = "" if slides else f"<p class='keys'>In the book: notebooks/{chapter.name}.html</p>"
    slides.insert(
        0, Slide("title", f"Chapter {number}", escape(title), f"{question.html()}\n{place}")
    )
    judged = claims({chapter.name: notebook})
    if judged:
        rows = [
            [c.record["text"], c.paper_words, c.record["measured"], c.verdict_words] for c in judged
        ]
        header = ["claim", "the paper", "here", "verdict"]
        table = table_html(rows, header, caption=f"The claims of chapter {number}")
        slides.append(Slide("table", above, "Claims and verdicts", table))
    return slides


def _built(project: Project, page: str, source: bytes, suffix: str) -> Element:
    """The built page, if it shows `source`: Sphinx keeps a copy of what each page was made of."""
    html = project.build / "html"
    built, kept = html / f"{page}.html", html / "_sources" / f"{page}{suffix}"
    if not (built.is_file() and kept.is_file()):
        raise ChapterError(
            f"no built page {page}.html in _build/html; slides are cut from the built pages. Run"
            " `make html` first."
        )
    if kept.read_bytes() != source:
        raise ChapterError(
            f"the built page {page}.html shows another text or other outputs than the published"
            " ones of today; slides are cut from the built pages. Run `make html` first."
        )
    return read_page(built.read_text(encoding="utf-8"))


def _slide(slide: Slide, number: int, of: int) -> str:
    above = f'<p class="above">{slide.above}</p>\n' if slide.above else ""
    level = "h1" if number == 1 else "h2"
    return (
        f'<section class="slide {slide.kind}" id="{number}" aria-label="Slide {number} of {of}">\n'
        f"<header>{above}<{level}>{slide.heading}</{level}></header>\n"
        f'<div class="body">{slide.body}</div>\n<footer>{number} / {of}</footer>\n</section>'
    )


def _shape(figure: Element) -> str:
    """The kind of slide for a figure, by the shape of its drawing."""
    if _STRIPS in figure.html():
        return "figure tower"
    drawing = _found(figure, "svg")
    if drawing is None or "viewbox" not in drawing.attributes:
        return "figure"
    *_, width, height = map(float, drawing.attributes["viewbox"].split())
    ratio = height / width
    return "figure tower" if ratio > _TOWER else "figure tall" if ratio > _TALL else "figure"


def _assets(text: str) -> list[str]:
    return [name for mark, names in _ASSETS.items() if mark in text for name in names]


def _found(page: Element, name: str, identity: str = "") -> Element | None:
    """The first element of a name, and of an id where one is given."""
    return next(
        (
            element
            for element in page.walk()
            if element.name == name and identity in ("", element.attributes.get("id"))
        ),
        None,
    )


def _text(page: Element, name: str) -> str:
    return _found(page, name).text().strip()


def _is_heading(child: Element | str) -> bool:
    return isinstance(child, Element) and child.name in _HEADINGS

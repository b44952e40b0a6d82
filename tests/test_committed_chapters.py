"""The chapters that are committed: executed by today's code, light enough to read, and with
cells that a page shows whole.
"""

import re

import nbformat
import pytest

from entrack.book.chapters import glued, project
from entrack.book.notebooks import code_cells
from entrack.book.rendering import page_bytes
from entrack.display.cells import CLAIMS
from entrack.display.tables import FOLDED
from entrack.stats.rules import OF_OURS, VERDICTS

CHAPTERS = project().chapters()
PAGES = "\n".join(
    path.read_text()
    for path in [*project().notebooks.glob("*.py"), *(project().root / "book").rglob("*.md")]
)
ON_PAGES = set(re.findall(r"\{glue:\w+\}`(?:[^`]*::)?([A-Za-z]\w*)", PAGES))
FOLDED_AWAY = re.compile("<details.*?</details>", re.DOTALL)
MAX_LINES, MAX_COLUMNS = 15, 100

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=[c.name for c in CHAPTERS])


def code_lines(cell) -> list[str]:
    """The lines of a cell that are neither empty nor a comment."""
    lines = cell.source.splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


@each_chapter
def test_a_committed_chapter_is_fresh(chapter):
    state = chapter.state()
    assert state.fresh, (
        f"{chapter.name} is {state.name}: {state.reason}. Mend with: entrack build --publish"
        f" {chapter.name}"
    )


@each_chapter
def test_a_committed_chapter_is_under_a_megabyte(chapter):
    assert chapter.notebook.stat().st_size < 1_000_000


@each_chapter
def test_a_cell_is_short_enough_for_a_page(chapter):
    for cell in code_cells(chapter.source):
        lines = code_lines(cell)
        assert len(lines) <= MAX_LINES, cell.source
        assert max(map(len, lines), default=0) <= MAX_COLUMNS, cell.source


@each_chapter
def test_a_page_shows_few_tables_in_the_open_and_none_that_is_long(chapter):
    """Beside the claims at most two; what is folded is there at a click."""
    page = nbformat.reads(page_bytes(chapter, chapter.read(chapter.notebook)).decode(), 4)
    open_rows, claims = [], 0
    for output in (o for cell in page.cells for o in cell.get("outputs", [])):
        html = FOLDED_AWAY.sub("", output.get("data", {}).get("text/html", ""))
        bodies = re.findall(r"<tbody>(.*?)</tbody>", html, re.DOTALL)
        open_rows += [body.count("<tr") for body in bodies if "entrack-table" in html]
        claims += CLAIMS in output.get("metadata", {})
    assert max(open_rows, default=0) <= FOLDED, open_rows
    assert len(open_rows) - claims <= 2, open_rows


@each_chapter
def test_a_cell_judges_nothing_and_words_no_figure(chapter):
    for cell in code_cells(chapter.source):
        for verdict in {*VERDICTS, *OF_OURS.values()}:
            assert f'"{verdict}"' not in cell.source, "a verdict comes from a rule"
        assert not re.search(r"\balt=", cell.source), "a figure makes its own alternative text"


@each_chapter
def test_what_is_glued_is_on_a_page(chapter):
    names = {name for name in glued(chapter.read(chapter.notebook))}
    assert names
    assert {name for name in names if not name.startswith("verdict_")} <= ON_PAGES


def test_the_book_has_its_chapters_in_order_and_then_the_appendices():
    assert [c.name[:2] for c in CHAPTERS] == [*(f"{n:02}" for n in range(1, 16)), "A1", "A2"]

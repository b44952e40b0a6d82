"""Slides: what they show is what the pages show, of today, and they stand on their own."""

import re
from html.parser import HTMLParser

import pytest
from browser import CHROMIUM, visit
from small_book import edit
from told_book import built, page_of, told_book

from entrack import cli
from entrack.book.building import build
from entrack.course_errors import ExerciseError
from entrack.errors import ChapterError
from entrack.sessions.page import read_page
from entrack.sessions.plan import sessions
from entrack.sessions.slides import SECTIONS, build_slides, deck


def silent(line: str) -> None:
    """Takes a line of the log."""


def slides_of(book) -> str:
    return deck(sessions(book)[0], {"02_show": page_of(book)}, project=book)


def headings(text: str) -> list[str]:
    return re.findall(r"<h[12]>(.*?)</h[12]>", text)


def test_a_deck_has_title_objectives_figures_verdicts_and_questions(tmp_path):
    text = slides_of(told_book(tmp_path))
    assert headings(text) == [
        "Session 1: showing",
        "Objectives",
        "Showing",
        "The line",
        "Claims and verdicts",
        "Discussion",
        "Project",
    ]
    assert "What is there to see? As elsewhere &amp; here." in text
    assert "<li><p>See it.</p></li>" in text and "<li><p>Did you?</p></li>" in text
    assert "Can it be <em>shown</em>? The answer is 42." in text
    assert 'aria-label="A line that rises"' in text and "A line that rises.</p>" in text
    for cell in ("the line rises", "0.3 (Table 1)", "+0.2 [+0.1, +0.3]"):
        assert f">{cell}</t" in text
    assert 'data-verdict="replicates">replicates</span>' in text
    assert "7 / 7" in text and "8 / " not in text


def test_a_slide_links_nowhere_and_loads_nothing_from_elsewhere(tmp_path):
    text = slides_of(told_book(tmp_path))
    assert "headerlink" not in text and "<a " not in text
    assert not re.findall(r'(?:src|href)="(?!#)', text)


def test_a_deck_closes_what_it_opens(tmp_path):
    class Balance(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(slides_of(told_book(tmp_path)))
    assert parser.open == []


@pytest.mark.parametrize(
    "width, height, kind",
    [(400, 200, "figure"), (400, 400, "figure tall"), (200, 400, "figure tower")],
)
def test_a_tall_figure_has_another_slide(tmp_path, width, height, kind):
    text = slides_of(told_book(tmp_path, width=width, height=height))
    assert re.findall(r'class="slide (figure[^"]*)"', text) == [kind]


def test_strips_scroll_and_bring_their_style(tmp_path):
    book = told_book(tmp_path)
    assert "entrack-strips" not in slides_of(book)
    page = book.build / "html/notebooks/02_show.html"
    edit(page, '<div class="entrack-svg">', '<div class="entrack-strips">')
    text = (build_slides(book, {"02_show": page_of(book)}) / "session_1.html").read_text()
    assert re.findall(r'class="slide (figure[^"]*)"', text) == ["figure tower"]
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert ".entrack-strips li g line" in style and "entrack-table" in style


def test_scripts_of_live_figures_lie_beside_the_deck(tmp_path):
    book = told_book(tmp_path)
    page = book.build / "html/notebooks/02_show.html"
    edit(page, '<div class="entrack-svg">', '<div class="live-figure">')
    lines = []
    folder = build_slides(book, {"02_show": page_of(book)}, log=lines.append)
    text = (folder / "session_1.html").read_text()
    loaded = re.findall(r'<script src="(.+?)"', text)
    assert loaded == ["assets/plotly.min.js", "assets/live-figures.js"]
    assert all((folder / name).is_file() for name in loaded)
    assert lines == [f"slides: 3 files in {folder}, and {folder}.zip"]


def test_a_page_that_is_not_built_is_refused(tmp_path):
    book = told_book(tmp_path)
    (book.build / "html/notebooks/02_show.html").unlink()
    with pytest.raises(
        ChapterError, match="no built page notebooks/02_show.html .* Run `make html`"
    ):
        slides_of(book)


@pytest.mark.parametrize(
    "name, kind",
    [("book/course/session_1", ".md"), ("notebooks/02_show", ".ipynb")],
)
def test_a_page_built_of_something_else_is_refused(tmp_path, name, kind):
    book = told_book(tmp_path)
    built(book, name, "<h1>Old</h1>", b"quick edition", kind)
    with pytest.raises(ChapterError, match=f"{name}.html shows another text or other outputs"):
        slides_of(book)


def test_a_session_without_questions_is_refused(tmp_path):
    book = told_book(tmp_path)
    edit(book.build / "html/book/course/session_1.html", 'id="discussion"', 'id="chat"')
    with pytest.raises(ExerciseError, match="session_1 has no section 'Discussion'"):
        slides_of(book)


def test_a_page_comes_back_as_it_was_written():
    source = '<p>a &lt; b &#233;<br>c<svg viewBox="0"><use xlink:href="#x"/></svg></p>'
    assert read_page(source).html() == source
    assert read_page("<p>a &lt; <b>b</b></p>").text() == "a < b"
    assert read_page('<i>x</i><article class="bd-article">y</article>z').text() == "y"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_slides_fit_a_phone_and_the_console_stays_quiet(tmp_path):
    book = told_book(tmp_path, width=200, height=400)
    folder = build_slides(book, {"02_show": page_of(book)}, log=silent)
    measure = """async (page, window) => ({
      wide: page.documentElement.scrollWidth,
      themes: ["light", "dark"].map((theme) => {
        page.documentElement.dataset.theme = theme;
        return window.getComputedStyle(page.body).color; }) })"""
    found, console = visit([folder / "session_1.html"], tmp_path, measure=measure)
    (seen,) = found.values()
    assert seen["wide"] <= 390 and not console
    assert len(set(seen["themes"])) == 2


@pytest.mark.slow
def test_the_command_makes_the_slides_with_the_editions(tmp_path, monkeypatch, capsys):
    book = told_book(tmp_path)
    toc = "- file: book/course/session_1\n"
    with open(book.root / "_toc.yml", "a") as file:
        file.write(toc)
    build(book, publish=True, log=silent)
    monkeypatch.setenv("ENTRACK_ROOT", str(book.root))
    assert cli.main(["course"]) == 0
    assert "slides: 1 files in" in capsys.readouterr().out
    text = (book.build / "course/slides/session_1.html").read_text()
    for heading in ("Session 1: showing", "Showing", *SECTIONS):
        assert heading in headings(text)
    assert "Fig. 1" in text and "a figure" in text

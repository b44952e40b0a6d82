"""The sessions of the book: complete, ninety minutes each, and of commands that there are."""

import json
import re
from pathlib import Path

import pytest
from small_book import edit
from told_book import told_book

from entrack.book.chapters import project
from entrack.book.pages import STATUS_FILES
from entrack.cli import COMMANDS
from entrack.course_errors import ExerciseError
from entrack.sessions.plan import sessions
from entrack.sessions.slides import SECTIONS
from entrack.sessions.tables import exercises_html, overview_html, run_times_html

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "book/course").glob("*.md"))
SESSIONS = sessions(project())


def test_every_numbered_chapter_is_taught_once():
    taught = [chapter.name for session in SESSIONS for chapter in session.chapters]
    numbered = [c.name for c in project().chapters() if c.name[0].isdigit()]
    assert sorted(taught) == numbered
    assert len(SESSIONS) == 4


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_a_session_has_all_that_a_syllabus_asks_for(session):
    text = session.path.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Objectives", "Reading", "In class", "Exercises", "Discussion", "Project"]
    assert set(SECTIONS) <= set(headings)
    assert "{session-run-times}" in text and "{session-exercises}" in text
    assert sum(map(int, re.findall(r"^\| (\d+) \|", text, re.MULTILINE))) == 90


def test_the_pages_name_commands_that_there_are():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = 0
    for page in PAGES:
        text = page.read_text()
        fence = re.compile(r"^```(?:\{.*\})?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        inline = re.findall(r"`([^`\n]+)`", fence.sub("", text))
        for line in [line for block in fence.findall(text) for line in block.splitlines()] + inline:
            words = line.split()
            words = words[next((i for i, w in enumerate(words) if "=" not in w), 0) :]
            if words[:1] == ["make"]:
                assert set(words[1:]) <= targets, line
            elif words and words[0].removeprefix(".venv/bin/") == "entrack" and len(words) > 1:
                assert words[1] in COMMANDS, line
                named += 1
    assert named > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_runs_that_the_pages_propose_are_allowed(page):
    book = project()
    for number, given in re.findall(
        r"entrack run (\S+)((?: (?:-p|--family) \S+)*)", page.read_text()
    ):
        options = given.replace("--family ", "-p family=").split(" -p ")[1:]
        texts = dict(option.strip(" `").split("=") for option in options)
        assert book.find(number).values(texts) or not texts


def test_exercises_are_listed_with_links_and_kinds(tmp_path):
    book = told_book(tmp_path)
    edit(book.root / "book/course/sessions.toml", '["02_show"]', '["02_show", "03_means"]')
    (session,) = sessions(book)
    html = exercises_html(session, up="../../")
    assert "Exercises: 2, of which 1 with checks" in html
    assert 'href="../../notebooks/03_means.html#ex-mean">Mean of a list</a>' in html
    assert ">write</td>" in html and ">in words</td>" in html and ">Means</td>" in html


def test_a_session_without_exercises_says_so(tmp_path):
    (session,) = sessions(told_book(tmp_path))
    assert "have no exercises" in exercises_html(session, up="")


def test_run_times_are_those_on_record(tmp_path):
    book = told_book(tmp_path)
    (book.notebooks / "quick.toml").write_text("")
    edit(book.root / "book/course/sessions.toml", '"02_show"', '"02_show", "01_double"')
    (session,) = sessions(book)
    assert run_times_html(session, up="").count(">not run<") == 8
    assert ">not run<" in overview_html(book, up="")
    record = {"seconds": 20.2, "seconds_from_nothing": 612.0, "torch_threads": 1, "device": "cpu"}
    records = {
        "02_show": record | {"parameters": {"family": "tiny"}},
        "01_double": record | {"parameters": {"n": 3, "word": "a"}},
    }
    (book.notebooks / STATUS_FILES["quick"]).write_text(json.dumps(records))
    html = run_times_html(session, up="../../")
    assert html.count(">20 s<") == html.count(">10 min<") == 2
    assert "with no result stored before (cpu, 1 thread)" in html
    overview = overview_html(book, up="../../")
    assert 'href="../../book/course/session_1.html">Session 1: showing</a>' in overview
    assert ">20 min<" in overview and ">2, 1<" in overview
    records["01_double"]["parameters"]["n"] = 4
    (book.notebooks / STATUS_FILES["quick"]).write_text(json.dumps(records))
    assert ">not run<" in overview_html(book, up="")


@pytest.mark.parametrize(
    "text, words",
    [
        ("session_1 = [", "sessions.toml is no TOML"),
        ("[session_1]\n", "session_1 has no chapters"),
        ("session_1 = 3\n", "session_1 has no chapters"),
        ('[session_1]\nchapters = ["09"]\n', "session_1: no chapter '09'"),
        ('[session_2]\nchapters = ["02"]\n', "has no page book/course/session_2.md"),
    ],
)
def test_a_plan_that_is_not_right_is_refused(tmp_path, text, words):
    book = told_book(tmp_path)
    (book.root / "book/course/sessions.toml").write_text(text)
    with pytest.raises(ExerciseError, match=re.escape(words)):
        sessions(book)


def test_a_book_without_a_plan_has_no_sessions(tmp_path):
    book = told_book(tmp_path)
    (book.root / "book/course/sessions.toml").unlink()
    assert sessions(book) == []

"""Two editions: the quick one's values are checked, executed apart from the published notebooks,
and its pages say what they are."""

import json

import pytest
from judged import HARMS, HELPS, claim, notebook
from small_book import edit, small_book

from entrack.book import building, pages
from entrack.book.building import ALL, build
from entrack.book.chapters import FULL, project
from entrack.book.comparison import agreement, beside_html
from entrack.book.execution import run
from entrack.errors import ParameterError


@pytest.fixture
def book(tmp_path):
    made = small_book(tmp_path)
    (made.notebooks / "quick.toml").write_text("[01_double]\nn = 1\n")
    return made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[03_x]\nn = 1", "quick.toml: no chapter '03_x'; there are 01_double, 02_show"),
        ("[01_double]\nm = 1", "quick.toml: chapter 01_double has no parameter 'm'; it takes n, w"),
        ("[01_double]\nn = 10", "quick.toml: n=10 is out of range; allowed is an integer in"),
        ('[01_double]\nn = "1"', "quick.toml: n='1' is not an integer; allowed is an integer in"),
        ("[01_double]\nn = 1.5", "quick.toml: n=1.5 is not an integer"),
        ("[01_double]\nn = true", "quick.toml: n=True is not an integer"),
        ("[01_double]\nn = [1]", r"quick.toml: n=\[1\] is not an integer"),
        ('[01_double]\nword = "c"', "quick.toml: word=c is not a choice; allowed is one of a, b"),
        ("01_double = 3", "quick.toml: 01_double is no table; .01_double. begins one"),
        ("[01_double", "quick.toml is no TOML: .* Correct the file"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(book, text, message):
    (book.notebooks / "quick.toml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        book.edition("quick")


def test_a_missing_file_is_named(book):
    (book.notebooks / "quick.toml").unlink()
    with pytest.raises(ParameterError, match="no quick.toml in .*; the quick edition has its"):
        book.edition("quick")
    assert book.edition("full") == FULL


def test_values_equal_to_the_sources_are_left_out(book):
    (book.notebooks / "quick.toml").write_text('[01_double]\nn = 2\nword = "a"\n')
    assert book.edition("quick").values == {"01_double": {"n": 2}}


def test_the_books_own_quick_values_are_allowed_and_no_larger_than_the_sources():
    quick = project().edition("quick")
    assert quick.values
    for chapter in project().chapters():
        defaults = {p.name: p.default for p in chapter.parameters}
        for name, value in quick.of(chapter).items():
            if isinstance(value, str):  # names some of what an empty text takes all of
                assert value and not defaults[name]
            elif isinstance(value, tuple):
                assert len(value) < len(defaults[name])
            else:
                assert value < defaults[name]


def test_the_quick_edition_is_executed_apart_and_goes_on_where_it_was(book, monkeypatch):
    quick, lines = book.edition("quick"), []
    before = {p: p.read_bytes() for p in book.notebooks.iterdir()}
    assert build(book, edition=quick, html=False, log=lines.append) == book.build / "quick"
    assert {p: p.read_bytes() for p in book.notebooks.iterdir()} == before
    executed = book.find("01").read(book.build / "quick/01_double.ipynb")
    printed = [o.get("text") for c in executed.cells for o in c.get("outputs", [])]
    assert "2\na\n" in printed
    state = book.find("01").state(executed)
    assert not state.fresh and "executed with others than the defaults" in state.reason
    assert book.find("01").state(executed, {"n": 1}).fresh
    assert "others than its edition's" in book.find("01").state(executed, {"n": 2}).reason

    shown = {}
    monkeypatch.setattr(building, "render", lambda p, made, log: shown.update(made) or p.build)
    lines.clear()
    build(book, edition=quick, log=lines.append)
    assert lines == ["01_double: fresh", "02_show: fresh"]
    told = shown["01_double"].cells[0].source
    assert told.startswith("# Doubling\n\n:::{admonition} Quick edition\n:class: important\n")
    assert "`n` = 1 instead of the values below" in told and "cpu" in told
    assert shown["02_show"].metadata[pages.EDITION] == "quick"
    assert "with the values below" in shown["02_show"].cells[0].source

    (book.notebooks / "quick.toml").write_text("[01_double]\nn = 2\n")
    lines.clear()
    build(book, edition=book.edition("quick"), html=False, log=lines.append)
    assert any(line.startswith("01_double: executing, because it is stale") for line in lines)


def test_publishing_the_quick_edition_keeps_its_times_only(book):
    build(book, edition=book.edition("quick"), publish=True, html=False, log=lambda line: None)
    assert not list(book.notebooks.glob("*.ipynb"))
    record = json.loads((book.notebooks / "quick_status.json").read_bytes())["01_double"]
    assert record["parameters"] == {"n": 1, "word": "a"} and record["seconds"] > 0
    told = pages.editions_html(book)
    assert told.count("not run") == 2 * 3 and "n = 1" in told and "n = 3" in told
    (book.notebooks / "quick.toml").write_text("[01_double]\nn = 2\n")
    assert pages.editions_html(book).count("not run") == 3 * 3


def test_times_on_another_family_are_no_times_of_an_edition(book):
    path = book.notebooks / "01_double.py"
    path.write_text(path.read_text().replace("n: int", 'family: str = "a"  # f\nn: int', 1))
    chapter = book.find("01")
    values = {p.name: p.default for p in chapter.parameters}
    for family, there in (("a", True), ("b", False)):
        record = {"parameters": values | {"family": family}, "seconds": 1.0}
        (book.notebooks / "status.json").write_text(json.dumps({chapter.name: record}))
        assert bool(pages.recorded(chapter, "full")[1]) == there


def test_all_executes_the_full_edition_anew_and_what_is_there_serves_else(book):
    lines = []
    build(book, publish=True, html=False, log=lambda line: None)
    build(book, publish=True, html=False, edition=FULL, log=lines.append)
    assert lines == ["01_double: fresh", "02_show: fresh"]
    lines.clear()
    build(book, [book.find("01")], execute_which=ALL, html=False, log=lines.append)
    assert lines[0] == "01_double: executing"


def test_claims_stand_beside_the_published_ones_on_a_page():
    then = notebook(claim("a", HELPS), claim("b", HELPS))
    now = notebook(claim("a", HELPS), claim("b", HARMS))
    table = beside_html({"01_x": now}, {"01_x": then}, link="{chapter}.html")
    rows = [row for row in table.split("<tr") if 'scope="row"' in row or "<td" in row]
    assert "agrees" in rows[0] and "+0.15 [+0.10, +0.20]" in rows[0]
    assert "differs" in rows[1] and "-0.15 [-0.20, -0.10]" in rows[1]
    assert "01_x.html" in table
    told = agreement(now, then)
    assert told.startswith("1 of 2 claims come out as published. Not: b < b.")
    assert agreement(notebook(), then) == ""


def test_a_run_leaves_its_claims_with_what_made_them(book, tmp_path):
    edit(book.notebooks / "02_show.py", "42", "41 + 1")
    chapter, claims = book.find("02"), tmp_path / "out" / "02.json"
    path = run(chapter, {}, out=tmp_path / "out", claims=claims, progress=False)
    assert path.parent == tmp_path / "out" and path.name.startswith("02_show-")
    record = json.loads(claims.read_text())
    assert record["numbers"] == {"answer": 42} and record["claims"] == []
    assert record["stamp"]["modules"] and record["execution"]["stamp"] and record["format"] == 1
    exact = tmp_path / "one.ipynb"
    assert run(chapter, {}, out=exact, progress=False) == exact and exact.exists()

"""What the hooks of the book add to a page's head, and what they mend in what the theme wrote."""

import importlib
import re
from types import SimpleNamespace

import pytest
from docutils import nodes

from entrack.book.chapters import project


@pytest.fixture
def hook(monkeypatch):
    """A module of `book/_ext`, by name."""
    monkeypatch.syspath_prepend(project().root / "book" / "_ext")
    return importlib.import_module


@pytest.mark.parametrize(
    "repository, address",
    [
        ("", ""),
        ("https://github.com/Somebody/entrack", "https://somebody.github.io/entrack"),
        ("https://github.com/somebody/entrack.git", "https://somebody.github.io/entrack"),
        ("https://github.com/somebody/somebody.github.io", "https://somebody.github.io"),
        ("https://example.org/somebody/entrack", ""),
        ("https://github.com/somebody", ""),
    ],
)
def test_the_address_of_the_pages_follows_from_the_repositorys(hook, repository, address):
    assert hook("previews").pages_address(repository) == address


def test_a_head_names_a_picture_only_by_its_whole_address(hook):
    head = hook("previews").head
    without = head("A <title>", "Told.", book="B", address="", page="x.html")
    assert 'property="og:title" content="A &lt;title&gt;"' in without
    assert 'name="description" content="Told."' in without and "image" not in without
    there = head("A", "", book="B", address="https://b.org/x", page="y/z.html")
    assert 'property="og:image" content="https://b.org/x/_static/preview.png"' in there
    assert 'property="og:url" content="https://b.org/x/y/z.html"' in there
    assert "description" not in there


def test_a_page_is_described_by_its_first_sentence(hook):
    description = hook("previews").description
    section = nodes.section("", nodes.title("", "A title"), nodes.paragraph("", "Too short."))
    section += nodes.block_quote("", nodes.paragraph("", "quoted " * 20))
    section += nodes.paragraph("", "A page says\n what it is about in its first paragraph.")
    document = SimpleNamespace(findall=section.findall)
    assert description(document) == "A page says what it is about in its first paragraph."
    section.replace(section[-1], nodes.paragraph("", "many words " * 60))
    found = description(document)
    assert len(found) <= 202 and found.endswith(("many …", "words …"))
    assert description(None) == ""


def test_what_a_screen_reader_would_misread_is_mended(hook):
    mended = hook("accessible").mended
    assert mended('<summary aria-label="Toggle hidden content">') == "<summary>"
    button = '<button class="btn search-button-field x" title="Search" aria-label="Search" a="b">'
    assert mended(button) == button.replace(' aria-label="Search"', "")
    signature = '<dt class="sig py" id="f">f(\n\n<dl>\n<dd>x,</dd>\n</dl>\n\n)</dt>'
    kept = "<dl>\n<dt>a</dt><dd>b</dd></dl>"
    found = mended(signature + kept)
    assert found.endswith(kept) and not re.search("</?d[ld]>", found.removesuffix(kept))
    assert found.count("<span") == found.count("</span>") == 2


def test_pages_are_mended_only_where_the_build_came_to_its_end(hook, tmp_path):
    accessible = hook("accessible")
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    page = tmp_path / "x.html"
    before = '<summary aria-label="Toggle hidden content">'
    page.write_text(before)
    accessible.mend_pages(app, ValueError())
    assert page.read_text() == before
    accessible.mend_pages(app, None)
    assert page.read_text() == "<summary>"


def test_what_no_page_loads_is_left_out(hook, tmp_path):
    static = tmp_path / "_static"
    for name in ("scripts/a.js", "scripts/a.js.map", "locales/de/x.mo"):
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_text("")
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    hook("lighter").leave_out(app, None)
    files = [str(p.relative_to(static)) for p in static.rglob("*") if p.is_file()]
    assert files == ["scripts/a.js"]


def test_a_wide_figure_is_told_from_a_narrow_one(hook):
    width = hook("offline_assets").drawn_width
    assert width('<svg style="width:100%;max-width:653px;height:auto">') == 653
    assert width("<svg>") == 0

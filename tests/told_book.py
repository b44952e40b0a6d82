"""The taught book with a session on one of its chapters, and pages built by hand: what slides are
cut from, without a minute of Sphinx."""

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from taught_book import taught_book

from entrack.book.chapters import Project
from entrack.book.rendering import page_bytes
from entrack.display.cells import CLAIMS

ROOT = Path(__file__).resolve().parent.parent
PAGE = """\
# Session 1: showing

What is there to see?

## Objectives

- See it.

## Discussion

1. Did you?

## Project

Look elsewhere.
"""
BUILT_PAGE = """\
<html><body><nav>Contents</nav><article class="bd-article">
<section class="tex2jax_ignore mathjax_ignore" id="session-1-showing">
<h1>Session 1: showing<a class="headerlink" href="#session-1-showing">#</a></h1>
<p>What is there to see? As <a class="reference" href="../x.html">elsewhere</a> &amp; here.</p>
<section id="objectives"><h2>Objectives<a class="headerlink" href="#o">#</a></h2>
<ul><li><p>See it.</p></li></ul></section>
<section id="discussion"><h2>Discussion</h2><ol><li><p>Did you?</p></li></ol></section>
<section id="project"><h2>Project</h2><p>Look elsewhere.</p></section>
</section></article></body></html>
"""
DRAWING = (
    '<svg viewBox="0 0 {w} {h}" role="img" aria-label="A line that rises"><g/>'
    '<path d="M0 0"/></svg>'
)
BUILT_CHAPTER = """\
<article class="bd-article"><section id="showing"><h1>Showing<a class="headerlink">#</a></h1>
<p>Can it be <em>shown</em>? The answer is 42.</p>
<section id="the-line"><h2>The line</h2>
<figure id="fig-line"><div class="entrack-svg">{drawing}</div>
<figcaption><p><span class="caption-number">Fig. 1 </span>A line that rises.<a class="headerlink"
href="#fig-line">#</a></p></figcaption></figure>
</section></section></article>
"""
CLAIM = {
    "slug": "rises",
    "text": "the line rises",
    "paper": "0.3",
    "source": "Table 1",
    "measured": "+0.2 [+0.1, +0.3]",
    "verdict": "replicates",
    "ours": False,
    "rule": "above 0",
}


def told_book(root: Path, *, width: int = 400, height: int = 200) -> Project:
    """The book, with a drawing of this size on the built page of its chapter."""
    book = taught_book(root)
    (book.root / "book/course").mkdir()
    (book.root / "book/course/sessions.toml").write_text('[session_1]\nchapters = ["02_show"]\n')
    (book.root / "book/course/session_1.md").write_text(PAGE)
    shutil.copytree(ROOT / "book/vendor", book.root / "book/vendor")
    drawing = DRAWING.format(w=width, h=height)
    built(book, "book/course/session_1", BUILT_PAGE, PAGE.encode(), ".md")
    source = page_bytes(book.find("02"), page_of(book))
    built(book, "notebooks/02_show", BUILT_CHAPTER.format(drawing=drawing), source, ".ipynb")
    return book


def built(book: Project, page: str, html: str, source: bytes, suffix: str) -> None:
    """Write a built page, and the copy that Sphinx keeps of what it was made of."""
    for path, data in (
        (book.build / "html" / f"{page}.html", html.encode()),
        (book.build / "html/_sources" / f"{page}{suffix}", source),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def page_of(book: Project) -> NotebookNode:
    """Chapter 02_show as published: with one claim in its outputs."""
    page = nbformat.from_dict(book.find("02").source)
    code = next(cell for cell in page.cells if "show(" in cell.source)
    code.outputs = [nbformat.v4.new_output("display_data", {CLAIMS: [CLAIM]})]
    return page

"""Sphinx hook: what the theme and its extensions write that a screen reader or a keyboard cannot
use, mended in the pages as they are written.

tests/test_every_page.py opens every page with axe-core and says what else there is."""

import re
from pathlib import Path

SIGNATURE = re.compile(r'<dt class="sig [^>]*>.*?</dt>', re.DOTALL)
REPAIRS = (
    # A name that leaves out the words on the button: who says "click Show code cell source" to a
    # machine is not understood.
    (re.compile(r'(<summary) aria-label="Toggle hidden content"'), r"\1"),
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'), r"\1"),
    (re.compile(r'(<i class="theme-switch [^>]*?) +title="[^"]*"'), r"\1"),
    # A list whose parts are entries of a bibliography and not items.
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    (re.compile(r'<aside([^>]*) role="list"'), r"<aside\1"),
)


def mended(html: str) -> str:
    """A page with the repairs, and signatures of several lines without lists of descriptions that
    describe nothing.
    """
    for pattern, replacement in REPAIRS:
        html = pattern.sub(replacement, html)
    return SIGNATURE.sub(lambda found: _without_lists(found[0]), html)


def _without_lists(signature: str) -> str:
    for old, new in (("dl", "sig-lines"), ("dd", "sig-line")):
        signature = signature.replace(f"<{old}>", f'<span class="{new}">')
        signature = signature.replace(f"</{old}>", "</span>")
    return signature


def mend_pages(app, exception):
    """Of the pages that were written; a build that failed is left as it is."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.parts:
            text = page.read_text(encoding="utf-8")
            page.write_text(mended(text), encoding="utf-8")


def page_script(app, pagename, templatename, context, doctree):
    """Figures that scroll on a phone can be reached with the Tab key."""
    if 'class="entrack-svg' in (context.get("body") or ""):
        app.add_js_file("vendor/scrolling.js", priority=801)


def setup(app):
    app.connect("html-page-context", page_script, priority=890)  # before the list is cleaned
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx hook: everything a page needs lies beside it, figures take the colours of the reader's
theme, tables fit a phone.

Five things that Jupyter Book leaves open: scripts come from `book/vendor/` and only to the pages
that use them; an SVG made by `entrack.display.cells.show` is put into the page itself, where its
ink follows the theme; the theme's Thebe scripts, which would load from another host, are left out;
a wide table of the prose scrolls inside the page; a table of words turns into a list of its rows on
a phone, and no interval, p-value or date is broken at its hyphen or its blank."""

import re
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from sphinx.util.fileutil import copy_asset

TABLE = re.compile(r'<div class="entrack-table".*?</table></div>', re.DOTALL)
WHOLE = re.compile(r"\[[+-]?[\d.]+%?, [+-]?[\d.]+%?\]|\b\d(?:\.\d+)?e-\d+\b|\b\d{4}-\d\d-\d\d\b")
WIDE = 600  # pixels: a figure drawn for this width or more fills the text's column
LONG = 40  # characters: a table with a longer cell is one of words
VENDOR = Path(__file__).resolve().parent.parent / "vendor"


def copy_vendor(app):
    """Before the pages are written, so that Sphinx finds the files and adds their checksums."""
    if app.builder.format == "html":
        copy_asset(VENDOR, Path(app.outdir) / "_static" / "vendor")


def inline_figures(app, doctree):
    """Replace the image of each figure by the SVG itself; runs before Sphinx collects images."""
    for image in list(doctree.findall(nodes.image)):
        if not image["uri"].endswith(".svg"):
            continue
        path = Path(app.srcdir) / image["uri"].lstrip("/")
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if 'class="entrack-figure"' in text:
            wide = " wide" if drawn_width(text) >= WIDE else ""
            html = f'<div class="entrack-svg{wide}">{text}</div>'
            image.replace_self(nodes.raw("", html, format="html", classes=["output", "image_svg"]))


def drawn_width(svg: str) -> int:
    """The width in pixels that a figure was drawn for."""
    found = re.search(r"max-width:(\d+)px", svg)
    return int(found.group(1)) if found else 0


def shape_tables(app, doctree):
    """Name every cell's column, so that a narrow page can show rows as lists; keep intervals and
    the like on one line.
    """
    for raw in doctree.findall(nodes.raw):
        if 'class="entrack-table"' in raw.astext():
            raw[:] = [nodes.Text(TABLE.sub(lambda found: shaped(found[0]), raw.astext()))]


def shaped(html: str) -> str:
    """One table: `data-label` on its cells, the class "words" where a cell is long, unbreakable
    intervals.
    """
    tree = ElementTree.fromstring(html)
    header, *rows = tree.iter("tr")
    names = ["".join(cell.itertext()) for cell in header]
    for row in rows:
        for name, cell in list(zip(names, row, strict=True))[1:]:
            cell.set("data-label", name)
    if any(len("".join(cell.itertext())) > LONG for row in rows for cell in row):
        tree.set("class", "entrack-table words")
    made = ElementTree.tostring(tree, encoding="unicode", method="html")
    return re.sub(
        r"(?<=>)[^<>]+(?=<)",
        lambda text: WHOLE.sub(r'<span class="whole">\g<0></span>', text[0]),
        made,
    )


def page_assets(app, pagename, templatename, context, doctree):
    """What a live figure, the explorer or strips need comes only to pages that have one; no script
    from elsewhere comes anywhere."""
    if 'class="live-figure"' in (context.get("body") or ""):
        app.add_js_file("vendor/plotly.min.js", priority=800)
        app.add_js_file("vendor/live-figures.js", priority=801)
    if 'class="circuit-explorer"' in (context.get("body") or ""):
        app.add_js_file("vendor/circuit-explorer.js", priority=801)
        app.add_css_file("vendor/circuit-explorer.css", priority=801)
    if 'class="entrack-strips"' in (context.get("body") or ""):
        app.add_css_file("vendor/strips.css", priority=801)
    context["script_files"] = [
        script for script in context["script_files"] if not _is_thebe(script)
    ]


def _is_thebe(script) -> bool:
    attributes = getattr(script, "attributes", {})
    text = f"{getattr(script, 'filename', '')} {attributes.get('body', '')}".lower()
    return "thebe" in text


def setup(app):
    app.add_css_file("vendor/entrack.css", priority=800)
    app.connect("builder-inited", copy_vendor)
    app.connect("doctree-read", inline_figures, priority=100)
    app.connect("doctree-read", shape_tables, priority=110)
    app.connect("html-page-context", page_assets, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

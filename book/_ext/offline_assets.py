"""Sphinx hook: everything a page needs lies beside it, and figures take the colours of the reader's theme.

Four things that Jupyter Book leaves open: scripts come from `book/vendor/` and only to the pages that use them; an SVG
made by `entrack.figures.display.show` is put into the page itself, where its ink follows the theme; the theme's Thebe
scripts, which would load from another host, are left out; a wide table of the prose scrolls inside the page.
"""

from pathlib import Path

from docutils import nodes
from sphinx.util.fileutil import copy_asset

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
            html = f'<div class="entrack-svg">{text}</div>'
            image.replace_self(nodes.raw("", html, format="html", classes=["output", "image_svg"]))


def page_assets(app, pagename, templatename, context, doctree):
    """plotly.js only where a live figure is; no script from elsewhere anywhere."""
    if 'class="live-figure"' in (context.get("body") or ""):
        app.add_js_file("vendor/plotly.min.js", priority=800)
        app.add_js_file("vendor/live-figures.js", priority=801)
    context["script_files"] = [script for script in context["script_files"] if not _is_thebe(script)]


def _is_thebe(script) -> bool:
    attributes = getattr(script, "attributes", {})
    text = f"{getattr(script, 'filename', '')} {attributes.get('body', '')}".lower()
    return "thebe" in text


def setup(app):
    app.add_css_file("vendor/entrack.css", priority=800)
    app.connect("builder-inited", copy_vendor)
    app.connect("doctree-read", inline_figures, priority=100)
    app.connect("html-page-context", page_assets, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx hook: what the theme brings and no page loads is left out: maps of its sources for those
who develop it, its texts in other languages, which are used while the book is rendered, and its
icons once more as fonts of an older kind, beside those that every browser of today reads."""

import shutil
from pathlib import Path


def leave_out(app, exception):
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for pattern in ("*.map", "fa-*.ttf"):
        for path in static.rglob(pattern):
            path.unlink()
    shutil.rmtree(static / "locales", ignore_errors=True)


def setup(app):
    app.connect("build-finished", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

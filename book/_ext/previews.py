"""Sphinx hook: what is shown where somebody shares a page: title, description, picture.

The description is the page's first paragraph. The picture is drawn from the record of the claims
when the book is rendered. A shared picture needs a whole address, and the book knows one only where
`BOOK_REPOSITORY` is set to a repository at GitHub, whose pages lie at a known place; without it the
pages name no picture."""

import re
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes

from entrack.book import pages
from entrack.record.preview import save_preview

PICTURE = "preview.png"
LONGEST = 200  # characters of a description; more is cut by whoever shows it


def pages_address(repository: str) -> str:
    """Where the pages of a repository lie, "" where that is not known."""
    parts = urlsplit(repository)
    owner, _, name = parts.path.strip("/").removesuffix(".git").partition("/")
    if parts.netloc != "github.com" or not name or "/" in name:
        return ""
    home = f"https://{owner.lower()}.github.io"
    return home if name.lower() == f"{owner.lower()}.github.io" else f"{home}/{name}"


def description(doctree) -> str:
    """The first paragraph of a page that is a sentence, cut between words."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        words = " ".join(paragraph.astext().split())
        if len(words) >= 40 and isinstance(paragraph.parent, nodes.section):
            cut = words[:LONGEST].rsplit(" ", 1)[0] + " …"
            return words if len(words) <= LONGEST else cut
    return ""


def head(title: str, told: str, *, book: str, address: str, page: str) -> str:
    """The lines for a page's head; `address` is that of the book, or ""."""
    found = {"og:type": "article", "og:site_name": book, "og:title": title}
    found |= {"og:description": told} if told else {}
    if address:
        found |= {"og:url": f"{address}/{page}", "og:image": f"{address}/_static/{PICTURE}"}
        found |= {"og:image:width": "1200", "og:image:height": "630"}
        found |= {"og:image:alt": f"{book}: how the claims came out"}
    lines = [f'<meta property="{name}" content="{escape(text)}"/>' for name, text in found.items()]
    lines += [f'<meta name="description" content="{escape(told)}"/>'] if told else []
    lines += ['<meta name="twitter:card" content="summary_large_image"/>'] if address else []
    return "\n".join(lines) + "\n"


def add_head(app, pagename, templatename, context, doctree):
    title = re.sub("<[^>]+>", "", context.get("title") or app.config.html_title)
    context["metatags"] = context.get("metatags", "") + head(
        title,
        description(doctree),
        book=app.config.html_title,
        address=pages_address(app.config.html_theme_options.get("repository_url", "")),
        page=f"{pagename}.html",
    )


def draw(app):
    if app.builder.format == "html":
        found = pages.claims(pages.read_notebooks(Path(app.srcdir) / "notebooks"))
        static = Path(app.outdir) / "_static"
        static.mkdir(parents=True, exist_ok=True)
        save_preview(found, static / PICTURE)


def setup(app):
    app.connect("builder-inited", draw)
    app.connect("html-page-context", add_head)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx hook: what a claim came to, inside a sentence or as a card, from the records of the
executed chapters.

{verdict}`slug`            its verdict as a badge that leads to the table with its rule
{measured}`slug`           what was measured, in words; {measured}`slug code` of one version
```{findings}```           a card for each of the paper's findings: how its claims came out
"""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxRole

from entrack.book import pages
from entrack.display.tables import badge
from entrack.record.counts import FINDINGS


def badge_html(claim: pages.JudgedClaim, *, link: str) -> str:
    """The verdict of a claim as a badge that leads to `link`."""
    told = f"{claim.record['text']}: {claim.verdict_words}"
    title = f' title="{escape(told)}"'
    return f'<a class="reference internal" href="{link}"{title}>{badge(claim.verdict_words)}</a>'


def findings_html(found: Sequence[pages.JudgedClaim], *, up: str) -> str:
    """A card for each of the paper's findings: how its claims came out, and those of ours about it.

    up: the way from the page to the book's root."""
    cards = []
    for finding, title in FINDINGS.items():
        mine = [claim for claim in found if claim.record["finding"] == finding]
        lines = [f'<p class="title">({finding}) {title}</p>']
        for ours, whose in ((False, "The paper's claims"), (True, "Tests of ours")):
            counts = Counter(c.verdict_words for c in mine if c.record["ours"] == ours)
            badges = (f"<li>{n} {badge(verdict)}</li>" for verdict, n in counts.items())
            lines += [f"<p>{whose}</p><ul>{''.join(badges)}</ul>"] if counts else []
        chapters = dict.fromkeys((claim.chapter, claim.title) for claim in mine)
        links = "; ".join(f'<a href="{up}notebooks/{c}.html">{escape(t)}</a>' for c, t in chapters)
        cards.append(f"<section>{''.join(lines)}<p>{links or 'not run here'}</p></section>")
    return f'<div class="entrack-findings">{"".join(cards)}</div>'


def judged(environment):
    """{slug: claim} of the notebooks that are being rendered."""
    environment.note_reread()  # it reads files that Sphinx does not know of
    folder = Path(environment.srcdir) / "notebooks"
    return _read(folder, max(path.stat().st_mtime_ns for path in folder.glob("*.ipynb")))


@cache
def _read(folder, changed):
    """Read once for all roles of a build: `changed` is when the newest notebook was written."""
    return {claim.record["slug"]: claim for claim in pages.claims(pages.read_notebooks(folder))}


def link(environment, claim):
    """The address of the section that judges a claim, from the page that is being read."""
    up = "../" * environment.docname.count("/")
    return f"{up}notebooks/{claim.chapter}.html#{claim.anchor}"


class OfClaim(SphinxRole):
    def run(self):
        slug, _, part = self.text.partition(" ")
        claims = judged(self.env)
        if slug not in claims:
            near = ", ".join(get_close_matches(slug, claims)) or "none is spelled like it"
            raise ExtensionError(
                f"{self.env.docname}: no chapter judges a claim {slug!r} (close: {near}). Name one"
                " that a chapter judges."
            )
        return [self.told(claims[slug], part)], []


class Verdict(OfClaim):
    def told(self, claim, part):
        made = badge_html(claim, link=link(self.env, claim))
        return nodes.raw("", made, format="html")


class Measured(OfClaim):
    def told(self, claim, part):
        parts = claim.record["parts"]
        if part and parts and part not in parts:
            raise ExtensionError(
                f"{self.env.docname}: {claim.record['slug']!r} was not measured for {part!r}; it"
                f" was for {', '.join(parts)}. Name one of these."
            )
        words = parts.get(part) if part else claim.record["measured"]
        return nodes.Text(words or "not run here")


class Findings(Directive):
    def run(self):
        environment = self.state.document.settings.env
        claims = list(judged(environment).values())
        made = findings_html(claims, up="../" * environment.docname.count("/"))
        return [nodes.raw("", made, format="html")]


def setup(app):
    app.add_role("verdict", Verdict())
    app.add_role("measured", Measured())
    app.add_directive("findings", Findings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx hook: pages that the book makes of its own record when it is rendered, so that no number
on them is typed.

```{claims}```, ```{claims-summary}```   the claims of all chapters; their count in a sentence
```{claims-by-finding}```                their count in a table
```{claims-beside-paper}```              our numbers and the paper's drawn on one axis, by finding
```{claims-easy}```                      those that could hardly have failed; a count without them
```{explorer-front}```                   the circuit explorer with its three experiments only
```{models}```                           the families, with their cards
```{status}```                           when and how each chapter was executed
```{page-times}```                       how soon each chapter's page shows
```{editions}```                         sizes and times of both editions
```{changes}```                          claims whose verdict is not that of the edition before
"""

from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

from entrack.book import pages
from entrack.book.chapters import project
from entrack.book.comparison import beside_html, changes_html
from entrack.display.model_cards import models_html
from entrack.record import counts
from entrack.record.beside_paper import compared, without_axis
from entrack.record.forest import forest_html


class RecordPage(Directive):
    """A directive without content; `make` gives HTML or a sentence."""

    def run(self):
        environment = self.state.document.settings.env
        environment.note_reread()  # it reads files that Sphinx does not know of
        made = self.make(
            pages.read_notebooks(Path(environment.srcdir) / "notebooks"),
            "../" * environment.docname.count("/"),
        )
        return [
            (
                nodes.raw("", made, format="html")
                if made.startswith("<")
                else nodes.paragraph(made, made)
            )
        ]


class Claims(RecordPage):
    def make(self, notebooks, up):
        link = up + "notebooks/{chapter}.html"
        if any(pages.EDITION in notebook.metadata for notebook in notebooks.values()):
            return beside_html(notebooks, pages.read_notebooks(project().notebooks), link=link)
        return pages.claims_html(pages.claims(notebooks), link=link)


class ClaimsSummary(RecordPage):
    def make(self, notebooks, up):
        return pages.summary(pages.claims(notebooks))


class ClaimsByFinding(RecordPage):
    def make(self, notebooks, up):
        return counts.by_finding_html(pages.claims(notebooks))


class ClaimsBesidePaper(RecordPage):
    def make(self, notebooks, up):
        found = pages.claims(notebooks)
        rows = compared(found)
        drawn = []
        for finding, name in {**counts.FINDINGS, "": "Before the findings"}.items():
            mine = [row for row in rows if row.claim.record["finding"] == finding]
            drawn.append(forest_html(mine, title=f"({finding}) {name}" if finding else name))
        left = "; ".join(
            counts.sentence(str(claim.record["text"])) for claim in without_axis(found)
        )
        note = f"<p>Claims of the paper without a number on a common axis: {escape(left)}.</p>"
        return f'<div class="entrack-forests">{"".join(drawn)}{note}</div>'


class ClaimsEasy(RecordPage):
    def make(self, notebooks, up):
        found = pages.claims(notebooks)
        others = pages.summary(counts.without_easy(found))
        others = f"<p>Without them, {others[0].lower()}{escape(others[1:])}</p>"
        return counts.easy_html(found) + others


class ExplorerFront(RecordPage):
    """The explorer as the chapter's execution left it; `entrack.css` hides the choices."""

    def make(self, notebooks, up):
        found = [
            output.data["text/html"]
            for notebook in notebooks.values()
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if 'class="circuit-explorer"' in output.get("data", {}).get("text/html", "")
        ]
        return f'<div class="entrack-front">{"".join(found[:1])}</div>'


class Models(RecordPage):
    def make(self, notebooks, up):
        return models_html()


class Status(RecordPage):
    def make(self, notebooks, up):
        return pages.status_html(project(), notebooks)


class PageTimes(RecordPage):
    def make(self, notebooks, up):
        return pages.page_times_html(project().root / "benchmarks/results/page_load.json")


class Editions(RecordPage):
    def make(self, notebooks, up):
        return pages.editions_html(project())


class Changes(RecordPage):
    def make(self, notebooks, up):
        return changes_html(project(), notebooks)


def setup(app):
    for name, directive in {
        "claims": Claims,
        "claims-summary": ClaimsSummary,
        "claims-by-finding": ClaimsByFinding,
        "claims-beside-paper": ClaimsBesidePaper,
        "claims-easy": ClaimsEasy,
        "explorer-front": ExplorerFront,
        "models": Models,
        "status": Status,
        "page-times": PageTimes,
        "editions": Editions,
        "changes": Changes,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

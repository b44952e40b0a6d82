"""Sphinx hook: pages that the book makes of its own record when it is rendered, so that no number
on them is typed.

```{claims}```, ```{claims-summary}```   the claims of all chapters; their count in a sentence
```{models}```                           the families, with their cards
```{status}```                           when and how each chapter was executed
```{editions}```                         sizes and times of both editions
```{changes}```                          claims whose verdict is not that of the edition before
"""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

from entrack.book import pages
from entrack.book.chapters import project
from entrack.book.comparison import beside_html, changes_html
from entrack.display.model_cards import models_html


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


class Models(RecordPage):
    def make(self, notebooks, up):
        return models_html()


class Status(RecordPage):
    def make(self, notebooks, up):
        return pages.status_html(project(), notebooks)


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
        "models": Models,
        "status": Status,
        "editions": Editions,
        "changes": Changes,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

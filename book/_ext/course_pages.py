"""Sphinx hook: what the course's pages tell of the chapters, so that nobody types it.

```{session-run-times}```   how long the chapters of the page's session run
```{session-exercises}```   their exercises, with links
```{course-sessions}```     the sessions: chapters, exercises, run times
"""

from docutils import nodes
from docutils.parsers.rst import Directive

from entrack.book.chapters import project
from entrack.sessions.plan import sessions
from entrack.sessions.tables import exercises_html, overview_html, run_times_html


class CoursePage(Directive):
    """A directive without content; `make` gives HTML."""

    def run(self):
        environment = self.state.document.settings.env
        environment.note_reread()  # it reads files that Sphinx does not know of
        up = "../" * environment.docname.count("/")
        return [nodes.raw("", self.make(environment.docname, up), format="html")]


class RunTimes(CoursePage):
    def make(self, page, up):
        return run_times_html(self.session(page), up=up)

    def session(self, page):
        found = next((s for s in sessions(project()) if s.page == page), None)
        if found is None:
            raise self.error(f"{page} is no session of sessions.toml; add it there.")
        return found


class Exercises(RunTimes):
    def make(self, page, up):
        return exercises_html(self.session(page), up=up)


class Overview(CoursePage):
    def make(self, page, up):
        return overview_html(project(), up=up)


def setup(app):
    app.add_directive("session-run-times", RunTimes)
    app.add_directive("session-exercises", Exercises)
    app.add_directive("course-sessions", Overview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The sessions of the course: which there are, and which chapters each is about.

`book/course/sessions.toml` says it, one table a session; the session's page lies beside it, as
`<name>.md`. A teacher with other sessions edits these files and no code."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from entrack.book.chapters import Chapter, Project
from entrack.course_errors import ExerciseError
from entrack.errors import ParameterError

FOLDER = "book/course"
FILE = "sessions.toml"


@dataclass(frozen=True)
class Session:
    """One meeting of the course.

    Attributes:
        name: of its page and its slides, such as "session_1".
        path: the page's source.
        chapters: those that it is about, in the order in which they are taught.
    """

    name: str
    path: Path
    chapters: tuple[Chapter, ...]

    @property
    def page(self) -> str:
        """The page in the built book, such as "book/course/session_1"."""
        return f"{FOLDER}/{self.name}"


def sessions(project: Project) -> list[Session]:
    """The sessions of a project, in their order; none where it has no such file.

    Raises ExerciseError for a file that is no TOML, and for a session without a page, without
    chapters, or with a chapter that is not there."""
    path = project.root / FOLDER / FILE
    if not path.is_file():
        return []
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ExerciseError(f"{FILE} is no TOML: {error}. Correct the file.") from None
    return [_session(project, name, table) for name, table in tables.items()]


def _session(project: Project, name: str, table: object) -> Session:
    page = project.root / FOLDER / f"{name}.md"
    names = table.get("chapters") if isinstance(table, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ExerciseError(
            f'{FILE}: {name} has no chapters; a list such as chapters = ["01_task"] is needed.'
            " Write it."
        )
    if not page.is_file():
        raise ExerciseError(
            f"{FILE} names the session {name}, which has no page {FOLDER}/{name}.md. Write it, or"
            " take the session out."
        )
    try:
        return Session(name, page, tuple(project.find(text) for text in names))
    except ParameterError as error:
        raise ExerciseError(f"{FILE}: {name}: {error}") from None

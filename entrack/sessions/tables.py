"""What a session's page tells that nobody types: how long its chapters run, and their exercises."""

from collections.abc import Mapping

from entrack.book.chapters import EDITIONS, Project
from entrack.book.pages import machine_words, recorded
from entrack.course.sheets import read_sheet
from entrack.display.tables import table_html
from entrack.sessions.plan import Session, sessions

_MINUTE = 60
_UPPER_SECONDS = 90


def run_times_html(session: Session, *, up: str) -> str:
    """A row for each chapter: how long it ran in each edition, and on what.

    Args:
        session: whose chapters.
        up: from the page to the top of the book, such as "../../".
    """
    rows, machines = [], []
    for chapter in session.chapters:
        row: list[object] = [(chapter.title, f"{up}notebooks/{chapter.name}.html")]
        for edition in reversed(EDITIONS):
            _, record = recorded(chapter, edition)
            row += [_time(record, key) for key in ("seconds", "seconds_from_nothing")]
            machines += [machine_words(record, memory=False)] if record else []
        rows.append(row)
    told = "; ".join(dict.fromkeys(machines)) or "not recorded"
    caption = f"Run times; from nothing: with no result stored before ({told})"
    header = ["chapter", "quick", "quick, from nothing", "published", "published, from nothing"]
    return table_html(rows, header, caption=caption)


def exercises_html(session: Session, *, up: str) -> str:
    """A row for each exercise of the session's chapters, with a link to it and its kind."""
    rows, by_themselves = [], 0
    for chapter in session.chapters:
        sheet = read_sheet(chapter.name, chapter.source)
        by_themselves += len(sheet.coded)
        for exercise in sheet.exercises.values():
            place = f"{up}notebooks/{chapter.name}.html#{exercise.label}"
            kind = exercise.kind or "in words"
            rows.append([(exercise.title, place), kind, chapter.title])
    if not rows:
        return "<p>The chapters of this session have no exercises.</p>"
    caption = f"Exercises: {len(rows)}, of which {by_themselves} with checks"
    return table_html(rows, ["exercise", "kind", "chapter"], caption=caption)


def overview_html(project: Project, *, up: str) -> str:
    """A row for each session: its title, chapters, exercises, and the time of the quick edition."""
    rows = []
    for session in sessions(project):
        records = [recorded(chapter, "quick")[1] for chapter in session.chapters]
        exercises = sum(
            len(read_sheet(chapter.name, chapter.source).exercises) for chapter in session.chapters
        )
        rows.append(
            [
                (title(session), f"{up}{session.page}.html"),
                ", ".join(str(int(c.name[:2])) for c in session.chapters),
                exercises,
                _words(sum(r["seconds_from_nothing"] for r in records))
                if all("seconds_from_nothing" in record for record in records)
                else "not run",
            ]
        )
    return table_html(
        rows,
        ["session", "chapters", "exercises", "quick run, from nothing"],
        caption="The sessions of the course",
    )


def title(session: Session) -> str:
    """The first heading of a session's page; its name where there is none."""
    lines = session.path.read_text().splitlines()
    return next((line[2:].strip() for line in lines if line.startswith("# ")), session.name)


def _time(record: Mapping, key: str) -> str:
    return _words(record[key]) if key in record else "not run"


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _UPPER_SECONDS else f"{seconds / _MINUTE:.0f} min"

"""A folder of submissions graded: a row a student, a readable report each.

Answers are found by the labels in their cells' tags and held to the checks of this clone, visible
and hidden; nothing else of a submission is executed. What one answer does costs that answer."""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from nbformat import NotebookNode

from entrack.book.chapters import Project
from entrack.book.notebooks import ANSWER, read_notebook
from entrack.course.editions import METADATA, WRITTEN
from entrack.course.exercises import Exercise
from entrack.course.sheets import read_sheet
from entrack.course.worker import Marked, Worker, cut
from entrack.course_errors import ExerciseError
from entrack.errors import ChapterError
from entrack.store.digests import write_atomic

TIMES, LEAST, MOST = 10, 2, 20
"""An answer may take so many times what the solution takes, in seconds within these two."""
DANGER = (
    "Grading runs the students' code as you, on this machine: it can read, change and delete your"
    " files. A time limit, a process of its own and no network are protection against mistakes, not"
    " against malice. Grade what you do not trust under another user or in a container."
)
NO_CUT = (
    "The network could not be cut here (unshare is missing or not allowed): the students' code can"
    " reach it."
)
CUT = "The network is cut for the students' code."
_DEFINITION = re.compile(r"^def (\w+)", re.MULTILINE)
TABLE, REPORTS = "grades.csv", "reports"


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes:
        student: the name of the notebook, or of the folder that holds several.
        answers: {label: code} of the cells tagged with it; the last one counts.
        words: {label: text} of what was answered in words, for the teacher to read.
        chapters: names of the chapters that the notebooks say they are.
        problems: notebooks that could not be read, a sentence each.
    """

    student: str
    answers: dict[str, str]
    words: dict[str, str]
    chapters: frozenset[str]
    problems: tuple[str, ...]


def grade(folder: Path, project: Project, *, log: Callable[[str], None] = print) -> Path:
    """Grade the submissions in `folder` and write `grades.csv` and `reports/` into it; returns the
    path of the table.

    Args:
        folder: a notebook a student, or a folder of notebooks a student.
        project: whose exercises and hidden tests count.
        log: takes each line about progress, and the danger first.

    Raises:
        ExerciseError: no submission, or none that holds an exercise of this book; or a solution
            that does not pass its own checks here, so that no answer could.
    """
    log(DANGER)
    log(CUT if cut() else NO_CUT)
    submissions = read_submissions(folder)
    exercises = _asked(submissions, project)
    results = _marked(submissions, exercises, log)
    for submission in submissions:
        report = _report(submission, exercises, results[submission.student])
        write_atomic(folder / REPORTS / f"{submission.student}.md", _bytes(report))
    write_atomic(folder / TABLE, _bytes(_table(submissions, exercises, results)))
    return folder / TABLE


def read_submissions(folder: Path) -> list[Submission]:
    """The submissions in `folder`, by name; a notebook that is damaged is a problem of its student.

    Raises ExerciseError where there is none."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        paths.setdefault(path.stem, []).append(path)
    for path in sorted(folder.glob("*/*.ipynb")):
        paths.setdefault(path.parent.name, []).append(path)
    if not paths:
        raise ExerciseError(
            f"no submission in {folder}; a notebook a student, or a folder of notebooks a student,"
            " is needed. Check the path."
        )
    return [_submission(student, files) for student, files in sorted(paths.items())]


def _submission(student: str, files: Sequence[Path]) -> Submission:
    answers, words, chapters, problems = {}, {}, set(), []
    for path in files:
        try:
            notebook = read_notebook(path)
            chapters.add(notebook.metadata.get(METADATA, {}).get("chapter", ""))
            for cell in notebook.cells:
                label = next((t for t in _tags(cell) if t.startswith("ex-")), "")
                if label and ANSWER in _tags(cell):
                    answers[label] = cell.source
                elif label and WRITTEN in _tags(cell):
                    words[label] = cell.source
                elif cell.cell_type == "code":
                    # Some tools drop tags; the function's name then stands for the label.
                    for name in _DEFINITION.findall(cell.source):
                        answers.setdefault(f"def {name}", cell.source)
        except (ChapterError, AttributeError, TypeError):
            problems.append(f"{path.name} is no readable notebook.")
    return Submission(student, answers, words, frozenset(chapters - {""}), tuple(problems))


def _tags(cell: NotebookNode) -> list[str]:
    return [tag for tag in cell.metadata.get("tags", []) if isinstance(tag, str)]


def _asked(submissions: Sequence[Submission], project: Project) -> list[Exercise]:
    """The exercises of every chapter that somebody handed in."""
    handed = {label for submission in submissions for label in submission.answers}
    named = {chapter for submission in submissions for chapter in submission.chapters}
    found = []
    for chapter in project.chapters():
        coded = read_sheet(chapter.name, chapter.source).coded
        names = {n for e in coded for n in (e.label, f"def {e.function}")}
        if chapter.name in named or names & handed:
            found += coded
    if not found:
        raise ExerciseError(
            "no submission holds an exercise of this book; notebooks of the student edition are"
            " needed, with their tags. Check the folder."
        )
    return found


def _marked(
    submissions: Sequence[Submission], exercises: Sequence[Exercise], log: Callable[[str], None]
) -> dict[str, dict[str, Marked]]:
    """{student: {label: how the answer did}}; what is not there has no entry."""
    workers: SimpleQueue[Worker] = SimpleQueue()

    def mark(submission: Submission) -> dict[str, Marked]:
        worker = workers.get()
        try:
            marks = {
                e.label: worker.mark(e, answer, seconds=limits[e.label])
                for e in exercises
                if (answer := _answer(submission, e)) is not None
            }
        finally:
            workers.put(worker)
        points = sum(marked.points for marked in marks.values())
        log(f"{submission.student}: {points} of {sum(e.points for e in exercises)}")
        return marks

    many = min(len(submissions), os.cpu_count() or 1)
    made = [Worker(network=False) for _ in range(many)]
    try:
        limits = {e.label: _limit(e, made[0]) for e in exercises}
        for worker in made:
            workers.put(worker)
        with ThreadPoolExecutor(many) as pool:
            names = [submission.student for submission in submissions]
            return dict(zip(names, pool.map(mark, submissions), strict=True))
    finally:
        for worker in made:
            worker.close()


def time_limit(seconds: float) -> int:
    """Whole seconds that an answer may take where the solution takes `seconds`: a folder of endless
    loops then costs minutes, and an answer that is merely slow is not cut off.
    """
    return min(MOST, max(LEAST, math.ceil(TIMES * seconds)))


def _limit(exercise: Exercise, worker: Worker) -> int:
    solved = worker.mark(exercise, exercise.answer, seconds=MOST)
    failed = next((o.said for o in solved.outcomes if not o.passed), None)
    if failed:
        raise ExerciseError(
            f"the solution of {exercise.label} does not pass its own checks here, so no answer can"
            f" be graded: {failed} `python -m entrack.course.proof` says more."
        )
    return time_limit(solved.seconds)


def _answer(submission: Submission, exercise: Exercise) -> str | None:
    by_name = submission.answers.get(f"def {exercise.function}")
    return submission.answers.get(exercise.label, by_name)


def _table(
    submissions: Sequence[Submission],
    exercises: Sequence[Exercise],
    results: dict[str, dict[str, Marked]],
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    most = sum(exercise.points for exercise in exercises)
    columns = [f"{e.label} (of {e.points})" for e in exercises]
    writer.writerow(["student", *columns, f"total (of {most})", "remarks"])
    for submission in submissions:
        marks = results[submission.student]
        points = [marks[e.label].points if e.label in marks else 0 for e in exercises]
        remarks = [*submission.problems]
        remarks += [f"{label}: {m.problem}" for label, m in marks.items() if m.problem]
        remarks += [f"{e.label}: not there." for e in exercises if e.label not in marks]
        writer.writerow([submission.student, *points, sum(points), " ".join(remarks)])
    return text.getvalue()


def _report(submission: Submission, exercises: Sequence[Exercise], marks: dict[str, Marked]) -> str:
    points = sum(marked.points for marked in marks.values())
    most = sum(exercise.points for exercise in exercises)
    parts = [f"# {submission.student}: {points} of {most}", *submission.problems]
    for exercise in exercises:
        marked = marks.get(exercise.label)
        got = marked.points if marked else 0
        parts.append(f"## {exercise.title} (`{exercise.label}`): {got} of {exercise.points}")
        if marked is None:
            parts.append(
                f"No answer with this label, and no function `{exercise.function}`, was handed in."
            )
            continue
        if marked.problem:
            parts.append(f"No check was reached: {marked.problem}")
        lines = [
            f"- {'passed' if o.passed else 'failed'}: {o.sentence if o.passed else o.said}"
            for o in marked.outcomes
        ]
        parts += ["\n".join(lines), _fenced(_answer(submission, exercise) or "")]
    for label, text in submission.words.items():
        parts += [f"## In words (`{label}`), not graded", text]
    return "\n\n".join(parts) + "\n"


def _fenced(code: str) -> str:
    return "\n".join(["~~~~~python", code.replace("~~~~~", "~~~~ ~"), "~~~~~"])


def _bytes(text: str) -> bytes:
    """UTF-8, with a question mark for halves of characters that a damaged notebook may hold."""
    return text.encode("utf-8", "replace")

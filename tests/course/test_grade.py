"""Submissions, most of them broken in a way of their own: each costs its own exercise."""

import csv
import json

import nbformat
import pytest
from small_book import edit
from taught_book import taught_book

from entrack import cli
from entrack.course import grade, worker
from entrack.course_errors import ExerciseError

HEAD = "def mean(*numbers):\n"
RIGHT = HEAD + "    return sum(numbers) / len(numbers)"
NETWORK = (
    HEAD + "    import socket\n    listening = socket.create_server(('127.0.0.1', 0))\n"
    "    socket.create_connection(listening.getsockname(), timeout=1)\n"
    "    return sum(numbers) / len(numbers)"
)
ANSWERS = {
    "ada": RIGHT,
    "bob": HEAD + "    return sum(numbers) // len(numbers)",
    "cat": HEAD + "    while True:\n        pass",
    "dan": HEAD + "    return sum(numbers",
    "eve": None,
    "fay": HEAD + "    import os\n    os._exit(0)",
    "gus": NETWORK,
    "hal": "check = print\n" + HEAD + "    import os, signal\n    os.kill(os.getppid(), 9)",
    "leo": HEAD + "    return " + "(" * 5000 + ")" * 5000,
    "lou": RIGHT + "  # \ud800",
    "mia": "import os\nfor file in range(3, 64):\n    try:\n        os.write(file, b'{}\\n')\n"
    "    except OSError:\n        pass\nos._exit(0)",
    "ida": HEAD + "    raise KeyboardInterrupt",
}


def submission(answer: str | None, *, tags: bool = True) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["entrack_course"] = {"chapter": "03_means"}
    if answer is not None:
        about = {"tags": ["answer", "ex-mean"]} if tags else {}
        notebook.cells.append(nbformat.v4.new_code_cell(answer, metadata=about))
    words = {"tags": ["written-answer", "ex-words"]}
    notebook.cells.append(nbformat.v4.new_markdown_cell("It must not grow.", metadata=words))
    notebook.cells.append(nbformat.v4.new_code_cell("raise SystemExit('never executed')"))
    return notebook


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    root = tmp_path_factory.mktemp("grade")
    book, folder = taught_book(root / "book"), root / "submissions"
    folder.mkdir()
    for student, answer in ANSWERS.items():
        # As JSON by hand: nbformat refuses to write the half character that one of them holds.
        (folder / f"{student}.ipynb").write_text(json.dumps(submission(answer)))
    (folder / "joe.ipynb").write_text("{broken")
    (folder / "kim").mkdir()
    nbformat.write(submission(RIGHT, tags=False), folder / "kim" / "03_means.ipynb")
    patch = pytest.MonkeyPatch()
    patch.setenv("ENTRACK_ROOT", str(book.root))
    try:
        assert cli.main(["grade", str(folder)]) == 0
    finally:
        patch.undo()
    rows = csv.DictReader(open(folder / "grades.csv"))
    return folder, {row["student"]: row for row in rows}


POINTS = {
    "ada": 3,
    "bob": 1,
    "cat": 0,
    "dan": 0,
    "eve": 0,
    "fay": 0,
    "hal": 0,
    "ida": 0,
    "joe": 0,
    "kim": 3,
    "leo": 0,
    "mia": 0,
}
REMARKS = {
    "cat": "ex-mean: it took more than 2 s.",
    "dan": "ex-mean: the answer is not Python ('(' was never closed, line 2).",
    "eve": "ex-mean: not there.",
    "fay": "ex-mean: it ended its own process.",
    "joe": "joe.ipynb is no readable notebook. ex-mean: not there.",
    "mia": "ex-mean: what it reported cannot be read.",
    "ada": "",
}


def test_every_student_has_a_row(graded):
    _, rows = graded
    assert list(rows) == sorted([*ANSWERS, "joe", "kim"])
    assert {name: int(rows[name]["ex-mean (of 3)"]) for name in POINTS} == POINTS
    assert {name: int(rows[name]["total (of 3)"]) for name in POINTS} == POINTS


@pytest.mark.parametrize("student", REMARKS)
def test_what_went_wrong_is_said_in_the_row(graded, student):
    assert graded[1][student]["remarks"] == REMARKS[student]


@pytest.mark.skipif(not worker.cut(), reason="no unshare here, which the grader says too")
def test_an_answer_has_no_network(graded):
    folder, rows = graded
    assert rows["gus"]["ex-mean (of 3)"] == "0"
    assert "OSError" in (folder / "reports/gus.md").read_text()


def test_reports_are_readable(graded):
    folder, _ = graded
    assert (folder / "reports/bob.md").read_text() == (
        "# bob: 1 of 3\n\n"
        "## Mean of a list (`ex-mean`): 1 of 3\n\n"
        "- passed: the mean of 1, 2 and 3 is 2\n"
        "- failed: ex-mean is not right yet: halves survive (it was rounded).\n"
        "- failed: ex-mean is not right yet: negative numbers count as well.\n\n"
        "~~~~~python\ndef mean(*numbers):\n    return sum(numbers) // len(numbers)\n~~~~~\n\n"
        "## In words (`ex-words`), not graded\n\nIt must not grow.\n"
    )
    assert "was handed in" in (folder / "reports/eve.md").read_text()


def test_the_danger_is_said_first(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    nbformat.write(submission(RIGHT), folder / "ada.ipynb")
    book = taught_book(tmp_path / "book")
    lines = []
    grade.grade(folder, book, log=lines.append)
    assert lines[0] == grade.DANGER and lines[1] in (grade.CUT, grade.NO_CUT)
    assert lines[2:] == ["ada: 3 of 3"]
    monkeypatch.setattr(grade, "cut", list)
    lines.clear()
    grade.grade(folder, book, log=lines.append)
    assert lines[1] == grade.NO_CUT


@pytest.mark.parametrize("seconds, limit", [(0.001, 2), (0.25, 3), (0.5, 5), (1.9, 19), (9, 20)])
def test_an_answer_may_take_ten_times_what_the_solution_takes(seconds, limit):
    assert grade.time_limit(seconds) == limit


def test_a_slow_solution_gives_more_time(tmp_path):
    book = taught_book(tmp_path / "book")
    source = book.notebooks / "03_means.py"
    edit(source, "import functools\n", "import functools\nimport time\n")
    slow = "    total_of_numbers = sum(numbers)\n"
    edit(source, slow, slow + "    time.sleep(0.1)\n")
    patient = HEAD + "    time.sleep(0.8)\n    return sum(numbers) / len(numbers)"
    nbformat.write(submission(patient), tmp_path / "ada.ipynb")
    lines = []
    grade.grade(tmp_path, book, log=lines.append)
    assert lines[2:] == ["ada: 3 of 3"]


def test_a_solution_that_does_not_hold_here_grades_nobody(tmp_path):
    book = taught_book(tmp_path / "book")
    edit(book.notebooks / "03_means.py", "_numbers / len(numbers)", "_numbers // len(numbers)")
    nbformat.write(submission(RIGHT), tmp_path / "ada.ipynb")
    with pytest.raises(ExerciseError, match="the solution of ex-mean does not pass its own checks"):
        grade.grade(tmp_path, book, log=lambda line: None)
    assert not (tmp_path / "grades.csv").exists()


def test_the_help_tells_the_danger(capsys):
    with pytest.raises(SystemExit):
        cli.main(["grade", "--help"])
    assert "runs the students' code as you" in " ".join(capsys.readouterr().out.split())


def test_a_folder_without_submissions_is_refused(tmp_path):
    with pytest.raises(ExerciseError, match="no submission in .*; a notebook a student"):
        grade.grade(tmp_path, taught_book(tmp_path / "book"), log=lambda line: None)


def test_submissions_of_something_else_are_refused(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "ada.ipynb")
    with pytest.raises(ExerciseError, match="no submission holds an exercise of this book"):
        grade.grade(tmp_path, taught_book(tmp_path / "book"), log=lambda line: None)

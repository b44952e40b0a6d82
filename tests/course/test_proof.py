"""Every exercise of the book holds, and a proof sees each way in which one may not."""

import pytest
from taught_book import edited, sheet_of

from entrack.book.chapters import project
from entrack.course.proof import prove, proven
from entrack.course.sheets import read_sheet
from entrack.course.worker import Worker
from entrack.course_errors import ExerciseError

SHEETS = {c.name: read_sheet(c.name, c.source) for c in project().chapters()}
EXERCISES = [(s.chapter, e.label) for s in SHEETS.values() for e in s.coded]


@pytest.fixture(scope="module")
def proofs():
    found = {}

    def of(chapter: str, label: str):
        if chapter not in found:
            found[chapter] = {p.exercise.label: p for p in prove(SHEETS[chapter])}
        return found[chapter][label]

    return of


@pytest.mark.parametrize("chapter, label", EXERCISES)
def test_the_stub_fails_the_solution_passes_and_slips_are_caught(proofs, chapter, label):
    proof = proofs(chapter, label)
    assert not proof.problems, "\n".join(proof.problems)
    assert 0 < proof.seconds < 10


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            [("total_of_numbers / len(numbers)", "total_of_numbers // len(numbers)")],
            "ex-mean: the solution fails, ex-mean is not right yet: halves survive (it was",
        ),
        (
            [("    assert mean(1, 2, 3) == 2", "    assert mean or mean(1, 2, 3) == 2")],
            "ex-mean: the check 'the mean of 1, 2 and 3 is 2' passes the stub",
        ),
        (
            [("mean(1, 2) == 1.5", "mean(1, 3) == 2")],
            "ex-mean: no visible check catches 'floor division'",
        ),
        (
            [("return sum(numbers) //", "return (sum(numbers) //")],
            "ex-mean: the wrong answer 'floor division' did not run, the answer is not Python",
        ),
        (
            [("import functools\n", "import functools\nimport no_such_module\n")],
            "the set-up raised ModuleNotFoundError (No module named 'no_such_module').",
        ),
    ],
)
def test_an_exercise_that_does_not_hold_is_found(changes, words):
    if "did not run" in words:
        sheet = sheet_of()
        wrong = {slip: f"{code}(" for slip, code in sheet.exercises["ex-mean"].wrong.items()}
        object.__setattr__(sheet.exercises["ex-mean"], "wrong", wrong)
    else:
        sheet = sheet_of(edited(*changes))
    with pytest.raises(ExerciseError, match="exercises that do not hold") as caught:
        proven([sheet])
    assert words in str(caught.value)


def test_an_answer_in_words_needs_no_proof():
    sheet = sheet_of()
    del sheet.exercises["ex-mean"]
    assert prove(sheet) == []


def test_an_answer_cannot_change_what_the_next_one_sees():
    sheet = sheet_of()
    exercise = sheet.exercises["ex-mean"]
    slip = "import functools\nfunctools.cache = None\ndef mean(*n):\n    return 0"
    object.__setattr__(exercise, "wrong", {"tampers": slip, "again": exercise.answer})
    (proof,) = prove(sheet)
    assert proof.problems == (
        "ex-mean: no visible check catches 'again'; sharpen one, or add a check.",
    )


def test_an_answer_that_ends_its_worker_costs_only_itself():
    exercise = sheet_of().exercises["ex-mean"]
    kill = "def mean(*n):\n    import os\n    os.kill(os.getppid(), 9)\n    os._exit(0)"
    with Worker(network=True) as worker:
        marked = worker.mark(exercise, kill, seconds=5)
        assert (marked.points, marked.problem) == (0, "it ended the process that ran it.")
        assert worker.mark(exercise, exercise.answer, seconds=5).points == 3

"""The proof that exercises work: stubs fail, solutions pass, the listed slips are caught.

`python -m entrack.course.proof [chapter ...]` says it of the book's chapters."""

import sys
from dataclasses import dataclass

from entrack.book.chapters import project
from entrack.course.exercises import Exercise
from entrack.course.sheets import Sheet, read_sheet
from entrack.course.worker import Marked, Worker
from entrack.course_errors import ExerciseError

SECONDS = 60


@dataclass(frozen=True)
class Proof:
    """What one exercise was found to do.

    Attributes:
        exercise: which.
        seconds: of its solution with all checks, measured here, set-up left out.
        problems: what is wrong with it, a sentence each; empty for a proven one.
    """

    exercise: Exercise
    seconds: float
    problems: tuple[str, ...]


def prove(sheet: Sheet) -> list[Proof]:
    """The proofs of a chapter's exercises that are answered by a function, in order.

    Costs a process with the imports of the set-up, seconds, and then what the answers take."""
    if not sheet.coded:
        return []
    with Worker(network=True) as worker:
        return [_proof(exercise, worker) for exercise in sheet.coded]


def _proof(exercise: Exercise, worker: Worker) -> Proof:
    label, problems = exercise.label, []
    solved = worker.mark(exercise, exercise.answer, seconds=SECONDS)
    problems += [f"{label}: the solution fails, {o.said}" for o in _failed(solved)]
    stub = worker.mark(exercise, exercise.stub, seconds=SECONDS)
    problems += [
        f"{label}: the check {o.sentence!r} passes the stub; let it call {exercise.function}."
        for o in stub.outcomes
        if o.passed
    ]
    visible = exercise.visible_points
    for slip, code in exercise.wrong.items():
        marked = worker.mark(exercise, code, seconds=SECONDS)
        if marked.problem:
            problems.append(f"{label}: the wrong answer {slip!r} did not run, {marked.problem}")
        elif all(o.passed for o in marked.outcomes[:visible]):
            problems.append(
                f"{label}: no visible check catches {slip!r}; sharpen one, or add a check."
            )
    return Proof(exercise, solved.seconds, tuple(problems))


def _failed(marked: Marked) -> list:
    return [outcome for outcome in marked.outcomes if not outcome.passed]


def proven(sheets: list[Sheet]) -> dict[str, float]:
    """{label: seconds of the solution} of every exercise. Raises ExerciseError with all problems
    when one does not hold.
    """
    proofs = [proof for sheet in sheets for proof in prove(sheet)]
    problems = [problem for proof in proofs for problem in proof.problems]
    if problems:
        raise ExerciseError("\n".join(["exercises that do not hold:", *problems]))
    return {proof.exercise.label: proof.seconds for proof in proofs}


def main(names: list[str]) -> int:
    book = project()
    chapters = [book.find(name) for name in names] or book.chapters()
    wrong = 0
    for chapter in chapters:
        for proof in prove(read_sheet(chapter.name, chapter.source)):
            held = f"{proof.exercise.points} checks, {len(proof.exercise.wrong)} slips caught"
            print(f"{chapter.name}  {proof.exercise.label}  {proof.seconds:.2f} s  ", end="")
            print("\n    ".join(proof.problems) or held)
            wrong += bool(proof.problems)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

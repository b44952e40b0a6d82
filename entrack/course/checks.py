"""What an exercise's cells call: a check says in one sentence what does not hold yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType

from entrack.course_errors import CheckFailed


@dataclass(frozen=True)
class Outcome:
    """How one check ended.

    Attributes:
        label: of the exercise.
        sentence: what the check holds an answer to.
        passed: whether it does.
        said: the sentence that the student reads.
    """

    label: str
    sentence: str
    passed: bool
    said: str


_OUTCOMES: ContextVar[list[Outcome] | None] = ContextVar("outcomes", default=None)


@contextmanager
def check(label: str, sentence: str) -> Iterator[None]:
    """Hold an answer to what `sentence` says, by the assertions in the `with` block::

        with check("ex-mean", "the mean of 1, 2, 3 is 2"):
            assert mean([1, 2, 3]) == 2

    A block that passes prints one line. The words of a failed assertion, where it has some, follow
    the sentence in brackets.

    Args:
        label: of the exercise, such as "ex-mean".
        sentence: what must hold, without a full stop; it must not give the answer away.

    Raises:
        CheckFailed: the block raised anything, SystemExit too; a notebook shows its one sentence
            and no traceback. Inside `recorded` nothing is raised.
    """
    outcomes = _OUTCOMES.get()
    try:
        yield
    except (Exception, SystemExit) as error:
        failed = CheckFailed(_words(label, sentence, error))
        if outcomes is None:
            raise failed from None
        outcomes.append(Outcome(label, sentence, False, str(failed)))
        return
    if outcomes is None:
        print(f"{label}: passed, {sentence}.")
    else:
        outcomes.append(Outcome(label, sentence, True, ""))


@contextmanager
def recorded() -> Iterator[list[Outcome]]:
    """While the block lasts, checks are noted in the list that it gives and raise nothing, so that
    one failure hides no other.
    """
    outcomes: list[Outcome] = []
    token = _OUTCOMES.set(outcomes)
    try:
        yield outcomes
    finally:
        _OUTCOMES.reset(token)


def _words(label: str, sentence: str, error: BaseException) -> str:
    if isinstance(error, NotImplementedError):
        return f"{label} is not written yet: {sentence}, once the stub above holds your answer."
    if isinstance(error, AssertionError):
        reason = f" ({error})" if str(error) else ""
        return f"{label} is not right yet: {sentence}{reason}."
    told = " ".join(str(error).split())
    what = type(error).__name__ + (f" ({told})" if told else "")
    return f"{label} is not right yet: {what} was raised{_place(error.__traceback__)}: {sentence}."


def _place(traceback: TracebackType | None) -> str:
    """Where in the notebook's own functions an error came from; "" when it was in none."""
    place = ""
    while traceback:
        frame = traceback.tb_frame
        name = frame.f_code.co_name
        if frame.f_globals.get("__name__") == "__main__" and not name.startswith("<module"):
            place = f" in line {traceback.tb_lineno} of the cell of {name}"
        traceback = traceback.tb_next
    return place

"""A check says one sentence, in a notebook too."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from entrack.course.checks import check, recorded
from entrack.course_errors import CheckFailed


def said(block) -> str:
    with pytest.raises(CheckFailed) as caught, check("ex-a", "two is two"):
        block()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    return str(caught.value)


def raising(error):
    def block():
        raise error

    return block


@pytest.mark.parametrize(
    "error, words",
    [
        (AssertionError(), "ex-a is not right yet: two is two."),
        (AssertionError("it was three"), "ex-a is not right yet: two is two (it was three)."),
        (
            NotImplementedError("ex-a"),
            "ex-a is not written yet: two is two, once the stub above holds your answer.",
        ),
        (
            ValueError("no\n such size"),
            "ex-a is not right yet: ValueError (no such size) was raised: two is two.",
        ),
        (SystemExit(), "ex-a is not right yet: SystemExit was raised: two is two."),
    ],
)
def test_a_failure_is_one_sentence(error, words):
    assert said(raising(error)) == words


def test_a_check_that_passes_says_so(capsys):
    with check("ex-a", "two is two"):
        assert 2 == 2
    assert capsys.readouterr().out == "ex-a: passed, two is two.\n"


def test_a_notebook_shows_the_sentence_and_no_traceback(capsys):
    shell = InteractiveShell()
    shell.run_cell(
        "from entrack.course.checks import check\n"
        "def half(x):\n    y = None\n    return y / 2\n"
        "with check('ex-a', 'half of two is one'):\n    assert half(2) == 1"
    )
    assert capsys.readouterr().out.strip() == (
        "ex-a is not right yet: TypeError (unsupported operand type(s) for /: 'NoneType' and 'int')"
        " was raised in line 4 of the cell of half: half of two is one."
    )


def test_recorded_checks_hide_no_other():
    with recorded() as outcomes:
        with check("ex-a", "first"):
            raise AssertionError
        with check("ex-a", "second"):
            pass
    assert [(o.sentence, o.passed) for o in outcomes] == [("first", False), ("second", True)]
    with pytest.raises(CheckFailed), check("ex-a", "raised again"):
        raise AssertionError

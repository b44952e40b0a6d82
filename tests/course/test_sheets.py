"""What is read from a chapter, and each thing that is refused, in one sentence."""

import pytest
from taught_book import SOURCE, edited, sheet_of

from entrack.course.sheets import ANSWER, CHECK, MEASURED, PROSE, SETUP, SOLUTION
from entrack.course_errors import ExerciseError

ANSWER_TAGS = 'tags=["answer", "ex-mean"]'
HIDDEN_TAGS = 'tags=["hidden-test", "ex-mean"]'
CHECKS = '# %% tags=["check", "ex-mean"]\n'


def test_an_exercise_is_read_whole():
    exercise = sheet_of().exercises["ex-mean"]
    assert (exercise.title, exercise.kind, exercise.function) == ("Mean of a list", "write", "mean")
    assert exercise.points == 3 and exercise.visible_points == 2
    assert list(exercise.wrong) == ["floor division", "the sum is not divided"]
    assert len(exercise.setup) == 1


def test_a_stub_keeps_decorators_signature_and_docstring():
    assert sheet_of().exercises["ex-mean"].stub == (
        '@functools.cache\ndef mean(*numbers):\n    """Mean of some numbers."""\n'
        '    raise NotImplementedError("ex-mean")'
    )


def test_cells_have_their_roles_and_words_no_solution():
    sheet = sheet_of()
    roles = [cell.role for cell in sheet.cells]
    assert roles[:6] == [PROSE, MEASURED, MEASURED, PROSE, SETUP, PROSE]
    assert roles[7:12] == [SOLUTION, ANSWER, SOLUTION, SOLUTION, CHECK]
    last = sheet.cells[-1]
    assert last.starts == ("ex-words",) and "does not grow" not in last.visible
    assert "Why divide?" in last.visible
    assert [exercise.label for exercise in sheet.coded] == ["ex-mean"]


def test_setup_with_a_label_is_for_that_exercise_alone():
    tagged = edited(('tags=["exercise-setup"]', 'tags=["exercise-setup", "ex-words"]'))
    assert sheet_of(tagged).exercises["ex-mean"].setup == ()


@pytest.mark.parametrize(
    "changes, words",
    [
        ([(CHECKS, '# %% tags=["chek", "ex-mean"]\n')], "is tagged chek, ex-mean; a label goes"),
        ([(CHECKS, '# %% tags=["check", "ex-meen"]\n')], "check names ex-meen, which is no"),
        ([(CHECKS, '# %% tags=["check"]\n')], "tagged check and names no exercise"),
        ([(CHECKS, "# %%\n")], "calls check and is not tagged"),
        ([(CHECKS, '# %% tags=["hidden-test", "ex-mean"]\n')], "has 0 checks in cells tagged"),
        ([(HIDDEN_TAGS, 'tags=["check", "ex-mean"]')], "has 0 checks in cells tagged hidden-test"),
        ([('with check("ex-mean", "halves', 'with chek("ex-mean", "halves')], "has 1 checks"),
        ([('check("ex-mean", "halves', 'check("ex-men", "halves')], "is called 'ex-men'"),
        ([('"halves survive"', '""')], "a sentence as plain text"),
        ([('"halves survive"', '"the mean of 1, 2 and 3 is 2"')], "say the same"),
        ([("    assert mean(1, 2, 3) == 2", "    mean(1, 2, 3)")], "tests nothing"),
        ([("assert mean(1, 2, 3) == 2", "assert meen(1, 2, 3) == 2")], "tests nothing"),
        ([(CHECKS, CHECKS + "x = 1\n")], "holds code outside `with check(...)`"),
        ([("@functools.cache\n", "import math\n\n\n")], "is not one function"),
        ([('    """Mean of some numbers."""\n', "")], "has no docstring or no body"),
        ([("# :class: write\n", "")], "has an answer and no kind"),
        ([("# :class: write\n", "# :class: guess\n")], "is of the kind 'guess'"),
        ([("# :label: ex-mean\n", "")], "has the label ''"),
        ([("# :label: ex-words", "# :label: ex-mean")], "two exercises are called ex-mean"),
        ([("{solution} ex-words", "{solution} ex-wrods")], "a solution names 'ex-wrods'"),
        ([("# :::{solution-end}\n# :::\n", "")], "check stands in the solution of ex-mean"),
        ([("# Division,", "# :::{solution-start} ex-mean\n# :::\n# Division,")], "still open"),
        ([("{solution} ex-words", "{solution-start} ex-words")], "of ex-words is not closed"),
        ([("# The total", "# :::{solution-end}\n# :::\n# The total")], "closes no solution"),
        ([("# :::{solution-start} ex-mean\n# :class: dropdown\n# :::", "#")], "outside its sol"),
        ([(ANSWER_TAGS, "")], "has a cell tagged check and no answer"),
        ([("# slip: floor division\n", "")], "does not say which slip it is"),
        ([("# slip: the sum is not\n#   divided", "# slip: floor division")], "lists 1 different"),
        ([("def mean(*numbers):\n    return sum(numbers)\n", "def men(*n):\n    return 1\n")],
         "defines another function than mean"),
        ([("# Divide.\n# :::\n# ::::", "# Divide.\n# ::::\n# :::")], "closes no fence"),
        ([("with the list.\n# :::", "with the list.")], "} ex-words' is not closed"),
        ([("# ::::{exercise}", "# :::{exercise}"), ("# :::\n# ::::", "# :::\n# :::")],
         "closes no fence"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_chapter(changes, words):
    with pytest.raises(ExerciseError) as caught:
        sheet_of(edited(*changes))
    assert str(caught.value).startswith("chapter 03_means: ") and words in str(caught.value)


@pytest.mark.parametrize(
    "code, words",
    [
        ("print(mean(1))", "uses 'mean', which the solution of ex-mean defines"),
        ("print(kept)", "uses 'kept', which the solution of ex-mean defines"),
        ("print(small)", "uses 'small', which the set-up of the exercises defines"),
    ],
)
def test_a_measurement_that_needs_an_exercise_is_refused(code, words):
    source = SOURCE.replace('glue("secret_mean"', 'kept = 1\nglue("secret_mean"')
    source = source.replace("import functools\n", "import functools\n\nsmall = 1\n")
    sheet_of(source)
    with pytest.raises(ExerciseError, match=words):
        sheet_of(f"{source}\n# %%\n{code}\n")
    sheet_of(f"{source}\n# %%\nmean = kept = small = print\n\n# %%\n{code}\n")

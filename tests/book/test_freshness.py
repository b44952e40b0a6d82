"""The check tells fresh outputs from every other kind, and names what changed. Nothing is executed
here.
"""

import copy

import nbformat
import pytest
from small_book import edit, small_book

from entrack.book.chapters import Chapter, Project
from entrack.book.freshness import OLDER_PROSE, cells_digest, get_stamp, make_stamp, put_stamp
from entrack.book.notebooks import (
    carry_outputs,
    figure_comment,
    normalise,
    notebook_bytes,
    read_source,
    title,
    with_figures,
)
from entrack.errors import ChapterError, StampError


@pytest.fixture
def project(tmp_path) -> Project:
    return small_book(tmp_path)


def pretend(chapter: Chapter, *, default: bool = True):
    """The notebook as an execution would leave it, with outputs made up and a true stamp over
    them.
    """
    notebook = normalise(chapter.source)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"output {count}\n")]
    values = {parameter.name: parameter.default for parameter in chapter.parameters}
    return put_stamp(
        notebook,
        make_stamp(chapter.name, notebook, values, default=default, root=chapter.project.root),
    )


def state(project: Project, number: str, notebook) -> tuple[str, str]:
    found = project.find(number).state(notebook)
    return found.name, found.reason


def test_what_was_just_executed_is_fresh(project):
    assert state(project, "01", pretend(project.find("01"))) == ("fresh", "")
    assert project.find("01").state(pretend(project.find("01"))).fresh


def test_the_stamp_survives_the_file(project):
    notebook = pretend(project.find("02"))
    again = nbformat.reads(notebook_bytes(notebook).decode(), as_version=4)
    assert get_stamp(again) == get_stamp(notebook)
    assert get_stamp(again).parameters == {"family": "tiny"} and get_stamp(
        again
    ).modules.keys() == {"entrack.shapes"}
    assert get_stamp(again).models.keys() == {"tiny", "tiny/base"}


def test_a_changed_helper_makes_only_its_own_chapter_stale(project):
    notebooks = {number: pretend(project.find(number)) for number in ("01", "02")}
    edit(project.root / "entrack/doubling.py", "2 * x", "3 * x")
    assert state(project, "01", notebooks["01"]) == ("stale", "module entrack.doubling changed")
    assert state(project, "02", notebooks["02"]) == ("fresh", "")


def test_a_helper_that_the_helper_begins_to_import_counts(project):
    notebook = pretend(project.find("01"))
    (project.root / "entrack/more.py").write_text("x = 1\n")
    edit(
        project.root / "entrack/doubling.py",
        "    return",
        "    from entrack import more\n    return",
    )
    assert state(project, "01", notebook) == (
        "stale",
        "module entrack.doubling changed; module entrack.more is new",
    )


def test_words_in_a_helper_are_free(project):
    notebook = pretend(project.find("01"))
    edit(project.root / "entrack/doubling.py", "Two times x.", "Twice as much.")
    assert state(project, "01", notebook) == ("fresh", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A sentence of prose.", "Another sentence."),
        ("# what to double [0, 9]", "# what is doubled [0, 9]"),
        ("# %%\n{1:", '# %% mystnb={"figure": {"caption": "A caption."}}\n{1:'),
        ("print(double(n))", "print(  double(n)  )  # a remark"),
    ],
)
def test_prose_of_every_kind_is_free(project, before, after):
    notebook = pretend(project.find("01"))
    edit(project.root / "notebooks/01_double.py", before, after)
    assert state(project, "01", notebook) == ("fresh", OLDER_PROSE)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("print(double(n))", "print(double(n + 1))", "code cell 2 changed"),
        ("n: int = 3", "n: int = 4", "code cell 1 changed"),
        ("{1: double(n)}", "{1: double(n)};", "code cell 3 changed"),
        ("{1: double(n)}", "{1: double(n)}\n\n# %%\n1", "3 code cells became 4"),
        ('# %% tags=["parameters"]', "# %%", "code cell 1 changed"),
    ],
)
def test_a_change_of_code_is_found_in_its_cell(project, before, after, reason):
    notebook = pretend(project.find("01"))
    edit(project.root / "notebooks/01_double.py", before, after)
    assert state(project, "01", notebook) == ("stale", reason)


def test_a_text_that_is_a_cell_of_its_own_is_an_output_and_no_docstring(project):
    path = project.root / "notebooks/03_text.py"
    path.write_text('# %%\n"one"\n')
    before = cells_digest(read_source(path))
    path.write_text('# %%\n"two"\n')
    assert cells_digest(read_source(path)) != before


def test_a_changed_adapter_makes_the_chapters_of_its_family_stale(project):
    notebooks = {number: pretend(project.find(number)) for number in ("01", "02")}
    (project.root / "models/tiny/base/card.json").write_text('{"seed": 1}')
    assert state(project, "02", notebooks["02"]) == ("stale", "model tiny/base changed")
    (project.root / "models/tiny/other").mkdir()
    (project.root / "models/tiny/other/card.json").write_text("{}")
    assert state(project, "02", notebooks["02"]) == (
        "stale",
        "model tiny/base changed; model tiny/other is new",
    )
    assert state(project, "01", notebooks["01"]) == ("fresh", "")


def test_a_family_named_in_code_counts_without_a_parameter(project):
    (project.root / "notebooks/03_named.py").write_text('# %%\nname = "tiny/base"\n')
    assert get_stamp(pretend(project.find("03"))).models.keys() == {"tiny", "tiny/base"}


def test_other_parameters_than_the_defaults_are_not_fresh(project):
    notebook = pretend(project.find("01"), default=False)
    assert state(project, "01", notebook) == (
        "stale",
        "parameters: it was executed with others than the defaults",
    )


def test_a_notebook_of_another_chapter_is_not_fresh(project):
    found = project.find("02").state(pretend(project.find("01")))
    assert found.name == "stale" and found.reason.startswith("it is an execution of 01_double; ")


def test_unexecuted_is_no_file_or_no_outputs_and_no_stamp(project):
    chapter = project.find("01")
    assert chapter.state().name == "unexecuted"
    chapter.notebook.write_bytes(notebook_bytes(chapter.source))
    assert chapter.state().reason == "its notebook has no outputs"


def test_outputs_edited_by_hand_are_hollow(project):
    notebook = pretend(project.find("01"))
    notebook.cells[2].outputs[0].text = "a better number\n"
    assert state(project, "01", notebook) == (
        "hollow",
        "its outputs were edited after the execution",
    )


def test_outputs_without_a_stamp_are_hollow(project):
    notebook = pretend(project.find("01"))
    del notebook.metadata["entrack"]
    assert state(project, "01", notebook) == (
        "hollow",
        "it has outputs and no stamp, so nothing says what made them",
    )


def test_code_edited_in_the_notebook_is_hollow(project):
    notebook = pretend(project.find("01"))
    notebook.cells[2].source = "print(6)"
    assert state(project, "01", notebook) == ("hollow", "its code was edited after the execution")


def test_cells_out_of_order_are_reported(project):
    notebook = pretend(project.find("01"))
    notebook.cells[2].execution_count = 7
    assert state(project, "01", notebook) == (
        "out-of-order",
        "cells were executed in the order 1, 7, 3",
    )
    notebook.cells[2].execution_count = None
    assert state(project, "01", notebook) == (
        "out-of-order",
        "cells were executed in the order 1, -, 3",
    )


def test_a_failed_notebook_is_reported_even_when_stamped(project):
    notebook = pretend(project.find("01"))
    notebook.cells[2].outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    ]
    assert state(project, "01", notebook) == ("failed", "code cell 2 holds an error")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda stamp: stamp.pop("cells"),
            "the stamp's 'cells' is missing or damaged; a str is needed.",
        ),
        (
            lambda stamp: stamp.update(modules="all"),
            "the stamp's 'modules' is missing or damaged; a dict is needed.",
        ),
        (lambda stamp: stamp.update(format=99), "the stamp has format 99; this entrack writes 1."),
    ],
)
def test_a_damaged_stamp_is_corrupt_and_says_where(project, damage, reason):
    notebook = pretend(project.find("01"))
    damage(notebook.metadata["entrack"])
    assert state(project, "01", notebook) == ("corrupt", reason)
    with pytest.raises(StampError):
        get_stamp(notebook)


def test_a_stamp_that_is_no_record_is_corrupt(project):
    notebook = pretend(project.find("01"))
    notebook.metadata["entrack"] = "fresh, honestly"
    assert state(project, "01", notebook)[0] == "corrupt"


def test_a_damaged_notebook_file_is_corrupt(project):
    chapter = project.find("01")
    chapter.notebook.write_text('{"cells": [')
    assert chapter.state().name == "corrupt"
    assert "Make it again: `entrack build --publish 01_double`." in chapter.state().reason


def test_normalising_drops_what_differs_between_executions(project):
    once, twice = (pretend(project.find("01")) for _ in range(2))
    twice.metadata["papermill"] = {"duration": 1.5}
    twice.metadata.language_info["version"] = "3.11.7"
    twice.cells[1].id = "f3a9"
    twice.cells[2].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    twice.cells[2].outputs[:] = [
        nbformat.v4.new_output("stream", name="stdout", text="output "),
        nbformat.v4.new_output("stream", name="stderr", text="50%"),
        nbformat.v4.new_output("stream", name="stdout", text="2\n"),
        nbformat.v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "50%"}
        ),
    ]
    assert notebook_bytes(normalise(twice)) == notebook_bytes(once)
    assert notebook_bytes(once).endswith(b"}\n") and not notebook_bytes(once).endswith(b"\n\n")


def test_carrying_outputs_takes_prose_and_captions_from_the_source(project):
    executed = pretend(project.find("01"))
    edit(project.root / "notebooks/01_double.py", "A sentence of prose.", "Another sentence.")
    edit(
        project.root / "notebooks/01_double.py",
        "# %%\n{1:",
        '# %% mystnb={"figure": {"caption": "A caption."}}\n{1:',
    )
    page = carry_outputs(project.find("01").source, executed)
    assert "Another sentence." in page.cells[0].source
    assert page.cells[3].metadata.mystnb.figure.caption == "A caption."
    assert [cell.outputs for cell in page.cells[1:]] == [
        cell.outputs for cell in executed.cells[1:]
    ]


def test_an_edited_caption_is_free_and_reaches_the_page(project):
    executed = pretend(project.find("02"))
    edit(project.root / "notebooks/02_show.py", "that rises.", "that falls\n#   again.")
    source = project.find("02").source
    assert cells_digest(source) == cells_digest(executed)
    cell = with_figures(carry_outputs(source, executed)).cells[2]
    assert cell.metadata["mystnb"]["figure"] == {
        "name": "fig-line",
        "caption": "A line that falls again.",
    }
    assert "caption" not in cell.source and 'show("a figure")' in cell.source


def test_a_figure_has_a_caption(project):
    edit(project.root / "notebooks/02_show.py", "# caption: A line\n#   that rises.\n", "")
    with pytest.raises(ChapterError, match="the cell that begins '# figure: fig-line' has no"):
        with_figures(project.find("02").source)


@pytest.mark.parametrize("source", ["x = 1", "# a remark\nx = 1", ""])
def test_other_cells_have_no_figure(source):
    assert figure_comment(source) == (None, source)


def test_outputs_are_not_carried_to_other_code(project):
    executed = copy.deepcopy(project.find("01").source)
    executed.cells.pop()
    with pytest.raises(
        ChapterError, match="the source has 3 code cells and the executed notebook 2"
    ):
        carry_outputs(project.find("01").source, executed)


def test_a_source_that_is_not_python_is_named(project):
    edit(project.root / "notebooks/01_double.py", "print(word)", "print(word")
    with pytest.raises(
        ChapterError, match=r"chapter 01_double: a cell is not Python \(.*\): `print\(word`. Mend"
    ):
        project.find("01").state()


def test_magics_are_understood(project):
    edit(
        project.root / "notebooks/01_double.py",
        "print(word)",
        "# %config InlineBackend.figure_format = 'svg'",
    )
    assert cells_digest(project.find("01").source)


def test_the_title_is_the_first_heading(project):
    assert title(project.find("01").source) == "Doubling"

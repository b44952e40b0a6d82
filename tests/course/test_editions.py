"""The editions: nothing leaks, all is readable, and one command makes them."""

import json
import zipfile

import nbformat
import pytest
from small_book import edit
from taught_book import edited, sheet_of, taught_book

from entrack import cli
from entrack.book.building import build
from entrack.book.chapters import project
from entrack.book.notebooks import read_source
from entrack.course import editions
from entrack.course.exercises import code_lines, sentences
from entrack.course.markdown import Plain
from entrack.course.sheets import read_sheet
from entrack.course_errors import ExerciseError
from entrack.errors import ChapterError

CHAPTERS = project().chapters()


class AnyValue:
    """Stands for a glued number of a chapter, whose outputs this test does not need."""

    def __format__(self, form):
        return "[value]"


class AnyValues(dict):
    def __contains__(self, name):
        return True

    def __missing__(self, name):
        return AnyValue()


class AnyNumbers:
    def title(self, page):
        return page

    def figure(self, name):
        return "Fig. 1"

    def equation(self, name):
        return "(1)"

    def citation(self, key):
        return "Author", "2000"


def material(sheet, seconds=None):
    plain = Plain(sheet.chapter, AnyValues(), AnyNumbers(), frozenset())
    return editions.Material(sheet, plain, plain, seconds or {})


def text_of(notebook) -> str:
    return "\n".join(c.source for c in notebook.cells) + json.dumps(
        [c.get("outputs", []) for c in notebook.cells]
    )


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[c.name for c in CHAPTERS])
def test_no_answer_of_the_book_leaks(chapter):
    sheet = read_sheet(chapter.name, chapter.source)
    student = editions.student_notebook(material(sheet))
    nbformat.validate(student)
    editions.refuse_leaks(sheet, student)
    text = text_of(student)
    for exercise in sheet.coded:
        for line in set(code_lines(exercise.answer)) - set(code_lines(exercise.stub)):
            assert line not in text
        assert not any(sentence in text for sentence in sentences(exercise.hidden))
        assert not any(slip in text for slip in exercise.wrong)
        assert f'raise NotImplementedError("{exercise.label}")' in text
    assert "{glue:" not in text and "{exercise}" not in text and "{solution" not in text


@pytest.mark.parametrize(
    "leak",
    [
        "total_of_numbers = sum(numbers)",
        "negative numbers count as well",
        "return sum(numbers) // len(numbers)",
        "Ask what an empty list should give, before anybody runs it.",
        "Because a mean does not grow with the list.",
    ],
)
def test_a_leak_is_refused(leak):
    sheet = sheet_of()
    student = editions.student_notebook(material(sheet))
    editions.refuse_leaks(sheet, student)
    student.cells.append(nbformat.v4.new_markdown_cell(f"Look: {leak}"))
    with pytest.raises(ExerciseError, match="the student edition would hold"):
        editions.refuse_leaks(sheet, student)


def test_the_instructor_edition_has_it_all():
    text = text_of(editions.instructor_notebook(material(sheet_of(), {"ex-mean": 0.26})))
    assert "| `ex-mean` | Mean of a list | write | 0.3 s |" in text
    for part in ("return total_of_numbers", "# Hidden test", "before anybody", "does not grow"):
        assert part in text
    assert "slip:" not in text


def test_the_first_cell_says_what_to_install(monkeypatch):
    monkeypatch.delenv("BOOK_REPOSITORY", raising=False)
    first = editions.student_notebook(material(sheet_of())).cells[0].source
    assert "entrack is not installed here" in first
    monkeypatch.setenv("BOOK_REPOSITORY", "https://example.org/book")
    first = editions.student_notebook(material(sheet_of())).cells[0].source
    assert "!git clone -q https://example.org/book entrack-book" in first


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    book = taught_book(tmp_path_factory.mktemp("course"))
    build(book, publish=True, log=lambda line: None)
    lines = []
    folder = editions.build_course(book, editions.published_pages(book), log=lines.append)
    return book, folder, lines


@pytest.mark.slow
def test_one_command_makes_three_editions_and_their_zips(built):
    book, folder, lines = built
    assert sorted(p.name for p in folder.glob("*.zip")) == [
        "instructor.zip",
        "nbgrader.zip",
        "student.zip",
    ]
    names = zipfile.ZipFile(folder / "nbgrader.zip").namelist()
    assert names == ["nbgrader_config.py", "source/03_means/03_means.ipynb"]
    assert lines[0] == "proving 1 exercises"
    assert lines[1].startswith("student: 3 files in ")


@pytest.mark.slow
def test_a_student_reads_results_and_none_of_a_solution(built):
    _, folder, _ = built
    student = nbformat.read(folder / "student/03_means.ipynb", as_version=4)
    text = text_of(student)
    assert "The total is 1.0." in text and "See [Showing](02_show.ipynb)." in text
    assert "7654.25" not in text and "secret_mean" not in text
    assert "7654.25" in text_of(nbformat.read(folder / "instructor/03_means.ipynb", as_version=4))
    shown = nbformat.read(folder / "student/02_show.ipynb", as_version=4)
    assert "a figure" in text_of(shown) and "**Fig. 1.** A line that rises." in text_of(shown)


@pytest.mark.slow
def test_the_pages_hold_no_hidden_test_and_no_note_for_the_teacher(built):
    book, _, _ = built
    html = book.build / "html"
    files = [*html.rglob("*.html"), *(html / "_sources").rglob("*"), html / "searchindex.js"]
    text = "\n".join(p.read_text(errors="replace") for p in files if p.is_file())
    assert "total_of_numbers" in text and "halves survive" in text
    for secret in ("negative numbers count", "slip:", "before anybody"):
        assert secret not in text


@pytest.mark.slow
def test_a_student_notebook_runs_to_its_first_stub(built, monkeypatch):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    book, folder, _ = built
    notebook = nbformat.read(folder / "student/03_means.ipynb", as_version=4)
    glue = "import sys, types; m = types.ModuleType('entrack.shapes'); m.glue = print"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"{glue}; sys.modules[m.__name__] = m"))
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook, kernel_name="python3").execute()
    errors = [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert [e.traceback for e in errors] == [
        [
            "ex-mean is not written yet: the mean of 1, 2 and 3 is 2, once the stub above holds"
            " your answer."
        ]
    ]


@pytest.mark.slow
def test_editing_an_exercise_leaves_the_results_fresh_and_new_ones_too(built):
    book, _, _ = built
    chapter = book.find("03")
    before = chapter.path.read_text()
    try:
        chapter.path.write_text(
            edited(
                ("    total_of_numbers = sum(numbers)", "    total_of_numbers = sum([*numbers])"),
                ("halves survive", "halves do not vanish"),
                ("mean(-7, -8) == -7.5", "mean(-7, -9) == -8"),
                ("# slip: floor division", "# slip: whole numbers"),
                ("import functools\n", "import functools\nimport math\n"),
            )
            + '\n# %% tags=["exercise-setup"]\nimport json\n'
        )
        assert book.find("03").state().fresh
        edit(chapter.path, "total = sum(range(n))", "total = sum(range(n + 1))")
        assert book.find("03").state().reason == "code cell 2 changed"
    finally:
        chapter.path.write_text(before)


@pytest.mark.slow
def test_stale_results_make_no_edition(built, monkeypatch, capsys):
    book, _, _ = built
    monkeypatch.setenv("ENTRACK_ROOT", str(book.root))
    edit(book.notebooks / "03_means.py", "range(n)", "range(n + 1)")
    try:
        assert cli.main(["course"]) == 1
    finally:
        edit(book.notebooks / "03_means.py", "range(n + 1)", "range(n)")
    assert "chapter 03_means is stale (code cell 2 changed); the editions show" in (
        capsys.readouterr().err
    )


def test_a_value_glued_by_a_solution_is_not_told_outside(tmp_path):
    book = taught_book(tmp_path)
    edit(book.notebooks / "03_means.py", "`total:.1f`", "`secret_mean`")
    page = read_source(book.notebooks / "03_means.py")
    for cell in page.cells:
        if cell.cell_type == "code" and "secret_mean" in cell.source:
            cell.outputs = [glued_output("secret_mean", "7654.25")]
    sheet = read_sheet("03_means", page)
    made = editions.material_of(sheet, page, AnyNumbers(), frozenset(), {})
    with pytest.raises(ExerciseError, match="shows 'secret_mean', which none of its visible cells"):
        editions.student_notebook(made)


def glued_output(name: str, text: str):
    return nbformat.v4.new_output(
        "display_data",
        {"application/papermill.record/text/plain": text},
        metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
    )


def test_a_book_without_pages_says_what_to_do(tmp_path):
    from entrack.course.markdown import References

    with pytest.raises(ExerciseError, match="Run `make html` first"):
        References(taught_book(tmp_path)).title("notebooks/01_double")


def test_an_unexecuted_chapter_makes_no_edition(tmp_path):
    with pytest.raises(ChapterError, match="01_double is unexecuted"):
        editions.published_pages(taught_book(tmp_path))

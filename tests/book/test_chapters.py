"""Chapters are executed whole or not at all, the same bytes twice, and only fresh ones reach the
book.

Real papermill runs on a book of two chapters that takes a second each; the book is rendered once.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import nbformat
import psutil
import pytest
from filelock import FileLock
from small_book import edit, small_book

from entrack.book import building, execution
from entrack.book import parallel as side_by_side
from entrack.book.building import ALL, NOTHING, build
from entrack.book.chapters import FULL, Project, glued, project
from entrack.book.execution import execute, run, run_id
from entrack.book.freshness import get_stamp, used_modules
from entrack.book.notebooks import notebook_bytes
from entrack.errors import ChapterError, DataError, ParameterError


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Project:
    """The small book with both chapters executed and published, nothing rendered; copy it before
    changing it.
    """
    book = small_book(tmp_path_factory.mktemp("published"))
    build(book, publish=True, html=False, log=lambda line: None)
    return book


@pytest.fixture
def book(published, tmp_path) -> Project:
    shutil.copytree(published.root, tmp_path / "book")
    return Project(tmp_path / "book")


@pytest.fixture
def lines() -> list[str]:
    return []


def no_execution(monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise AssertionError("nothing was to be executed")

    monkeypatch.setattr(building, "executions", refuse)


def states(book: Project) -> dict[str, str]:
    return {chapter.name: chapter.state().name for chapter in book.chapters()}


def files(book: Project) -> dict[str, bytes]:
    """Everything in the working tree that git would see."""
    found = {}
    for path in book.root.rglob("*"):
        name = path.relative_to(book.root)
        if (
            path.is_file()
            and name.parts[0] not in ("_build", "runs")
            and "__pycache__" not in name.parts
        ):
            found[str(name)] = path.read_bytes()
    return found


def test_published_chapters_are_fresh_and_quiet(published):
    assert states(published) == {"01_double": "fresh", "02_show": "fresh"}
    notebook = published.find("01").read(published.find("01").notebook)
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert [output.text for output in notebook.cells[2].outputs] == [
        "6\na\n"
    ]  # "waiting" went to the log
    assert notebook.cells[3].outputs[0].data["text/plain"] == "{1: 6}"
    assert not any(
        "injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells
    )
    logs = list(published.runs.iterdir())
    assert [log.suffix for log in logs] == [".log"] and logs[0].read_text() == "waiting\n"


def test_two_executions_are_the_same_bytes(published):
    chapter = published.find("02")
    again = execute(chapter, {}, progress=False)
    assert notebook_bytes(again.notebook) == chapter.notebook.read_bytes()


def test_what_differs_each_time_stands_in_the_status_instead(published):
    status = json.loads((published.notebooks / "status.json").read_bytes())
    assert list(status) == ["01_double", "02_show"]
    record = status["01_double"]
    assert (
        record["stamp"]
        == get_stamp(published.find("01").read(published.find("01").notebook)).inputs
    )
    assert record["parameters"] == {"n": 3, "word": "a"} and record["torch_threads"] == 0
    assert (
        record["device"] == "cpu"
        and 10 < record["peak_memory_mb"] < 2000
        and 0 < record["seconds"] < 60
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["executed"])


def test_a_run_with_other_parameters_goes_to_its_own_file(book):
    before = files(book)
    chapter = book.find("01")
    path = run(chapter, {"n": 4}, progress=False)
    assert path == book.runs / f"01_double-{run_id(chapter, {'n': 4})}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert "8\na\n" in [
        output.get("text") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    assert (
        get_stamp(notebook).parameters == {"n": 4, "word": "a"} and not get_stamp(notebook).default
    )
    assert files(book) == before


def test_a_run_id_names_chapter_parameters_and_code(book):
    first = run_id(book.find("01"), {"n": 4})
    assert run_id(book.find("01"), {"n": 4}) == first != run_id(book.find("01"), {"n": 5})
    edit(book.root / "entrack/doubling.py", "2 * x", "3 * x")
    assert run_id(book.find("01"), {"n": 4}) != first


def test_a_tuple_reaches_the_chapter(book):
    (book.notebooks / "03_many.py").write_text(
        '# %% tags=["parameters"]\nlayers: tuple[int, ...] = (1, 2)\n\n# %%\nprint(sum(layers))\n'
    )
    notebook = execute(
        book.find("03"), book.find("03").values({"layers": "3,4"}), progress=False
    ).notebook
    assert notebook.cells[-1].outputs[0].text == "7\n"
    assert get_stamp(notebook).parameters == {"layers": [3, 4]}


def test_a_failing_cell_is_shown_and_kept_apart(book):
    edit(book.root / "entrack/doubling.py", "return 2 * x", "raise ValueError(f'no double of {x}')")
    with pytest.raises(ChapterError) as caught:
        run(book.find("01"), {"n": 4}, progress=False)
    name = f"runs/01_double-{run_id(book.find('01'), {'n': 4})}"
    assert str(caught.value).splitlines() == [
        "chapter 01_double failed in code cell 2, with n=4, word='a':",
        "    import sys",
        "    ",
        "    from entrack.doubling import double",
        "    ",
        "    print(double(n))",
        "    ...",
        "ValueError: no double of 4",
        f"The notebook up to there, with the traceback, is {name}.failed.ipynb.",
    ]
    assert (book.root / f"{name}.failed.ipynb").exists() and not (
        book.root / f"{name}.ipynb"
    ).exists()
    edit(book.root / "entrack/doubling.py", "raise ValueError(f'no double of {x}')", "return 2 * x")
    run(book.find("01"), {"n": 4}, progress=False)


def test_a_kernel_that_dies_is_reported(book):
    edit(book.root / "entrack/doubling.py", "return 2 * x", "import os; os._exit(9)")
    with pytest.raises(
        ChapterError, match="chapter 01_double stopped, with n=3, word='a': its kernel died"
    ):
        execute(book.find("01"), {}, progress=False)
    assert not [path for path in book.runs.iterdir() if path.suffix == ".ipynb" or path.is_dir()]


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process on Windows")
def test_ctrl_c_leaves_nothing_half_written_and_the_same_command_goes_on(book):
    edit(
        book.notebooks / "01_double.py",
        "print(word)",
        "from pathlib import Path\nimport time\nPath('started').touch()\n"
        "time.sleep(0 if Path('again').exists() else 60)",
    )
    command = [sys.executable, "-m", "entrack.cli", "run", "01", "-p", "n=4"]
    environment = os.environ | {"ENTRACK_ROOT": str(book.root)}
    # A shell's background jobs ignore SIGINT and hand that down; a person at a keyboard has the
    # default.
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started = book.notebooks / "started"
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert errors.strip().endswith(
        "The same command goes on: experiments that had finished are stored."
    )
    assert "Traceback" not in errors
    assert not [path for path in book.runs.iterdir() if path.suffix == ".ipynb" or path.is_dir()]
    (book.notebooks / "again").touch()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert [path.name for path in book.runs.glob("*.ipynb")] == [
        f"01_double-{run_id(book.find('01'), {'n': 4})}.ipynb"
    ]


def test_only_what_is_stale_is_executed(book, lines):
    edit(book.root / "entrack/doubling.py", "2 * x", "3 * x")
    build(book, html=False, log=lines.append)
    assert lines[:2] == [
        "02_show: fresh",
        "01_double: executing, because it is stale (module entrack.doubling changed)",
    ]
    assert lines[2].startswith("[1/1] 01_double: done in ") and len(lines) == 3
    # The published notebook waits for --publish; the one executed here serves the next build.
    assert states(book) == {"01_double": "stale", "02_show": "fresh"}
    lines.clear()
    build(book, html=False, publish=True, log=lines.append)
    assert lines == ["01_double: fresh", "02_show: fresh"]
    assert states(book) == {"01_double": "fresh", "02_show": "fresh"}


def test_all_executes_what_is_fresh_too(book, lines):
    before = files(book)
    build(book, [book.find("01")], execute_which=ALL, html=False, log=lines.append)
    assert (
        lines[0] == "01_double: executing"
        and lines[1].startswith("[1/1] 01_double: done in ")
        and len(lines) == 2
    )
    assert files(book) == before


MEET = """
# %%
import os
import time
from pathlib import Path

Path("here_{own}").touch()
until = time.monotonic() + 60
while not Path("here_{other}").exists() and time.monotonic() < until:
    time.sleep(0.05)
assert Path("here_{other}").exists(), "the other chapter never ran beside this one"
print(os.environ["OMP_NUM_THREADS"], os.environ["PYTHONHASHSEED"])
"""


@pytest.mark.parametrize("chosen_threads", [None, "3"])
def test_two_chapters_are_executed_side_by_side_with_their_share_of_the_cores(
    book, lines, monkeypatch, chosen_threads
):
    """Each waits for the other, so that one after the other would fail. Threads that the reader
    chose stay chosen.
    """
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen_threads:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen_threads)
    monkeypatch.setattr(side_by_side, "_cores", lambda: 8)
    for own, other in (("a", "b"), ("b", "a")):
        (book.notebooks / f"0{3 + (own == 'b')}_{own}.py").write_text(
            MEET.format(own=own, other=other)
        )
    chosen = [book.find("03"), book.find("04")]
    build(book, chosen, html=False, jobs=2, publish=True, log=lines.append)
    assert sorted(line.partition(",")[0] for line in lines[:2]) == [
        "03_a: executing",
        "04_b: executing",
    ]
    assert lines[2].startswith("[1/2] ") and lines[3].startswith("[2/2] ") and len(lines) == 4
    told = {chapter.read(chapter.notebook).cells[-1].outputs[0].text for chapter in chosen}
    assert told == {f"{chosen_threads or 4} 0\n"}


@pytest.mark.parametrize(
    ("cores", "free", "jobs"), [(1, 64, 1), (2, 5, 1), (2, 13, 2), (2, 20, 3), (16, 64, 3)]
)
def test_as_many_at_once_as_the_memory_holds(monkeypatch, cores, free, jobs):
    memory = types.SimpleNamespace(available=free * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(side_by_side, "_cores", lambda: cores)
    monkeypatch.setattr(side_by_side.shutil, "which", lambda name: None)
    assert side_by_side.usual_jobs() == jobs
    monkeypatch.setattr(side_by_side.shutil, "which", lambda name: name)
    assert side_by_side.usual_jobs() == 1, "one chapter fills a GPU"


def test_the_longest_are_executed_first_and_the_unknown_before_them(book):
    status = book.notebooks / "status.json"
    status.write_text(
        json.dumps(
            {n: {"seconds_from_nothing": s} for n, s in (("01_double", 1.0), ("02_show", 9.0))}
        )
    )
    (book.notebooks / "03_new.py").write_text("# %%\n1\n")
    assert [chapter.name for chapter in building._order(book.chapters(), FULL)] == [
        "03_new",
        "02_show",
        "01_double",
    ]
    status.unlink()
    assert [chapter.name for chapter in building._order(book.chapters(), FULL)] == [
        "01_double",
        "02_show",
        "03_new",
    ]
    assert building._order([], FULL) == []


def test_one_chapter_finds_the_circuit_while_those_without_need_of_it_run(book):
    module = book.root.joinpath(*building.SEARCH.split(".")).with_suffix(".py")
    module.parent.mkdir()
    for path in (module, module.parent / "__init__.py"):
        path.write_text("")
    for name in ("03_search", "04_long", "05_longer"):
        (book.notebooks / f"{name}.py").write_text(f"# %%\nfrom {building.SEARCH} import *\n")
    seconds = {"01_double": 6, "02_show": 7, "03_search": 3, "04_long": 4, "05_longer": 5}
    (book.notebooks / "status.json").write_text(
        json.dumps({name: {"seconds_from_nothing": s} for name, s in seconds.items()})
    )
    assert [c.name for c in building._order(book.chapters(), FULL)] == [
        "03_search",
        "02_show",
        "01_double",
        "05_longer",
        "04_long",
    ]


def test_the_search_for_the_circuit_is_what_chapters_use():
    """A module that moved away would make no chapter wait for the circuit, in silence."""
    using = [
        chapter.name
        for chapter in project().chapters()
        if building.SEARCH in used_modules(chapter.source, package=project().root / "entrack")
    ]
    assert "03_circuit" in using and len(using) < len(project().chapters())


def test_a_chapter_whose_process_dies_stops_no_other(book, monkeypatch):
    monkeypatch.setattr(side_by_side.multiprocessing, "get_context", lambda kind: DiesOnStart)
    found = [
        (chapter.name, str(result))
        for chapter, result in side_by_side.executions(book.chapters(), jobs=1)
        if result is not None
    ]
    assert [name for name, _ in found] == ["01_double", "02_show"]
    assert all(
        "its process died, which most often means that the memory was full. Build again with"
        " --jobs 1." in told
        for _, told in found
    )


class DiesOnStart:
    """A multiprocessing context whose processes end at once, with nothing sent."""

    Pipe = staticmethod(multiprocessing.Pipe)
    set_forkserver_preload = staticmethod(lambda modules: None)

    class Process:
        def __init__(self, **options):
            self.sending = options["args"][1]

        def start(self):
            self.sending.close()

        def join(self):
            pass


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process on Windows")
def test_an_interrupted_build_interrupts_all_that_run_and_leaves_nothing(book):
    for name in ("01_double", "02_show"):
        (book.notebooks / f"{name}.py").write_text(
            "# %%\nfrom pathlib import Path\nimport os\nimport"
            f" time\nPath('{name}').write_text(str(os.getpid()))\ntime.sleep(60)\n"
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "entrack.cli", "build", "--jobs", "2"],
        env=os.environ | {"ENTRACK_ROOT": str(book.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    begun = [book.notebooks / "01_double", book.notebooks / "02_show"]
    deadline = time.monotonic() + 120
    while (
        not all(path.exists() and path.read_text() for path in begun)
        and time.monotonic() < deadline
    ):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert (
        process.returncode == 130
        and errors.strip().endswith("experiments that had finished are stored.")
        and "Traceback" not in errors
    )
    assert not [path for path in book.runs.iterdir() if path.suffix == ".ipynb" or path.is_dir()]
    until = time.monotonic() + 30
    while any(alive(int(path.read_text())) for path in begun) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(alive(int(path.read_text())) for path in begun), "a kernel was left behind"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_publishing_again_changes_nothing(book, monkeypatch):
    before = files(book)
    no_execution(monkeypatch)
    build(book, html=False, publish=True, log=lambda line: None)
    assert files(book) == before


def test_a_chapter_that_fails_stops_the_book_and_keeps_the_others(book):
    edit(book.notebooks / "01_double.py", "print(word)", "print(words)")
    edit(book.notebooks / "02_show.py", '"answer", 42', '"answer", 43')
    with pytest.raises(ChapterError) as caught:
        build(book, publish=True, log=lambda line: None)
    assert "NameError: name 'words' is not defined" in str(caught.value)
    assert str(caught.value).endswith("1 of 2 chapters cannot be shown, so nothing was rendered.")
    assert states(book) == {"01_double": "stale", "02_show": "fresh"}
    assert glued(book.find("02").read(book.find("02").notebook)) == {"answer": 43}
    assert not (book.build / "html").exists()


@pytest.mark.parametrize("which", [building.STALE, ALL])
def test_a_chapter_that_cannot_be_read_stops_the_book_and_keeps_the_others(book, which):
    edit(book.notebooks / "01_double.py", "print(word)", "print(word")
    edit(book.notebooks / "02_show.py", '"answer", 42', '"answer", 43')
    with pytest.raises(ChapterError) as caught:
        build(book, publish=True, execute_which=which, log=lambda line: None)
    assert str(caught.value).startswith("chapter 01_double: ")
    assert str(caught.value).endswith("1 of 2 chapters cannot be shown, so nothing was rendered.")
    assert glued(book.find("02").read(book.find("02").notebook)) == {"answer": 43}


def test_what_is_not_fresh_is_never_rendered_from_stored_outputs(book, monkeypatch):
    shutil.rmtree(book.build)
    no_execution(monkeypatch)
    edit(book.find("01").notebook, '"6\\n"', '"7\\n"')
    with pytest.raises(
        ChapterError,
        match="chapter 01_double is hollow .its outputs were edited after the execution.",
    ):
        build(book, execute_which=NOTHING, log=lambda line: None)


def test_the_book_shows_todays_prose_and_leaves_the_tree_clean(book, monkeypatch):
    shutil.rmtree(book.build)  # a fresh clone
    no_execution(monkeypatch)
    edit(book.notebooks / "01_double.py", "A sentence of prose.", "Another sentence.")
    edit(book.notebooks / "02_show.py", "that rises.", "that falls.")
    assert states(book) == {"01_double": "fresh", "02_show": "fresh"}
    before = files(book)
    index = build(book, execute_which=NOTHING, log=lambda line: None)
    assert index == book.root / "_build" / "html" / "index.html" and index.exists()
    page = (index.parent / "notebooks" / "01_double.html").read_text()
    assert "Another sentence." in page and "A sentence of prose." not in page and "{1: 6}" in page
    assert "A line that falls." in (index.parent / "notebooks" / "02_show.html").read_text()
    assert "Once 42 was the answer." in re.sub(
        "<[^>]*>", "", (index.parent / "book" / "intro.html").read_text()
    )
    assert files(book) == before

    build(book, publish=True, html=False, log=lambda line: None)
    assert "Another sentence." in book.find("01").notebook.read_text()
    assert states(book) == {"01_double": "fresh", "02_show": "fresh"}

    edit(book.root / "book/intro.md", "::answer:d", "::no_such_answer:d")
    with pytest.raises(
        ChapterError, match="(?s)not rendered cleanly.*no_such_answer.*_build/render.log"
    ):
        build(book, execute_which=NOTHING, log=lambda line: None)


def test_two_renderings_at_once_are_refused(book):
    with FileLock(book.build / "lock"):
        with pytest.raises(
            ChapterError, match="the book is being rendered in .*_build already; one at a time"
        ):
            build(book, log=lambda line: None)


def test_a_full_disk_stops_a_run_with_its_reason(book, monkeypatch):
    def full(path, data):
        raise DataError("no space left")

    monkeypatch.setattr(execution, "write_atomic", full)
    with pytest.raises(DataError, match="no space left"):
        run(book.find("02"), {}, progress=False)
    assert not [path for path in book.runs.iterdir() if path.suffix == ".ipynb" or path.is_dir()]


@pytest.mark.parametrize(
    "text", ["1", "01", "01_double", "double", "notebooks/01_double.py", "01_double.ipynb"]
)
def test_a_chapter_is_found_by_number_name_or_file(book, text):
    assert book.find(text).name == "01_double"


def test_an_unknown_chapter_is_refused_with_the_nearest(book):
    with pytest.raises(ParameterError) as caught:
        book.find("01_duoble")
    assert (
        str(caught.value)
        == "no chapter '01_duoble'; there are 01_double, 02_show. Did you mean '01_double'?"
    )
    with pytest.raises(
        ParameterError,
        match="no chapter '7'; there are 01_double, 02_show. `entrack chapters` lists",
    ):
        book.find("7")


def test_an_unknown_family_is_refused_before_anything_runs(book):
    chapter = book.find("02")
    with pytest.raises(ParameterError) as caught:
        chapter.values({"family": "tny"})
    assert (
        str(caught.value)
        == "family=tny is not known; there are tiny, and any folder or hub id. Did you mean 'tiny'?"
    )
    with pytest.raises(ParameterError) as caught:
        chapter.values({"family": "tiny/bas"})
    assert (
        str(caught.value)
        == "family=tiny/bas is not a version of tiny; there are base, other. Name one."
    )
    assert chapter.values({"family": "tiny/base"}) == {"family": "tiny/base"}
    assert chapter.values({"family": "someone/llama"}) == {"family": "someone/llama"}
    assert chapter.values({"family": str(book.root)}) == {"family": str(book.root)}


def test_a_folder_without_chapters_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_ROOT", str(tmp_path))
    with pytest.raises(
        ChapterError, match=f"no notebooks folder in {tmp_path}; .*set ENTRACK_ROOT to it"
    ):
        project().chapters()


def test_without_configuration_there_is_no_book(book):
    (book.root / "_toc.yml").unlink()
    with pytest.raises(ChapterError, match="no _toc.yml in"):
        build(book, log=lambda line: None)


def test_an_unreadable_source_is_named(book):
    (book.notebooks / "03_bad.py").write_text(
        "# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n# %%\n1\n"
    )
    with pytest.raises(
        ChapterError, match="chapter source 03_bad.py cannot be read .*'display_name'"
    ):
        book.find("03").state()


def test_the_machine_is_told_in_plain_values():
    told = execution.machine()
    assert json.loads(json.dumps(told)) == told and told["device"] in ("cuda", "mps", "cpu")


@pytest.mark.parametrize(
    ("number", "given"),
    [
        ("12", {"siblings": "smollm2 smollm2-unprimed-3"}),
        ("13", {"family": "smollm2-unprimed-3"}),
        ("14", {"family": "smollm2-unprimed-3"}),
    ],
)
def test_a_chapter_that_asks_for_recipes_refuses_a_family_that_has_none_in_the_package(
    number, given
):
    chapter = project().find(number)
    told = (
        f"chapter {chapter.name} asks how each version was trained, and the recipes of"
        " smollm2-unprimed-3 stand only in its file, which repeats those of another family."
    )
    with pytest.raises(ParameterError, match=told):
        chapter.values(given)
    second = {name: value.replace("-3", "-2") for name, value in given.items()}
    assert chapter.values(second) == second


def test_other_chapters_take_it():
    given = {"family": "smollm2-unprimed-3"}
    assert project().find("03").values(given) == project().find("15").values(given) == given

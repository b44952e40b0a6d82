"""The command: exit codes, what it prints, and that bad input stops it before anything runs."""

import shutil

import pytest
from small_book import edit, small_book

from entrack import cli
from entrack.book.building import build
from entrack.book.chapters import Project
from entrack.versions.families import DEFAULT


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Project:
    book = small_book(tmp_path_factory.mktemp("cli"))
    build(book, publish=True, html=False, log=lambda line: None)
    return book


@pytest.fixture
def book(published, tmp_path, monkeypatch) -> Project:
    shutil.copytree(published.root, tmp_path / "book")
    monkeypatch.setenv("ENTRACK_ROOT", str(tmp_path / "book"))
    return Project(tmp_path / "book")


@pytest.fixture
def never_run(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("nothing was to be run")

    monkeypatch.setattr(cli, "run", refuse)


def test_chapters_are_listed_with_state_and_parameters(book, capsys):
    edit(book.root / "entrack/doubling.py", "2 * x", "3 * x")
    assert cli.main(["chapters"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "01_double  Doubling",
        "    stale: module entrack.doubling changed",
        "    -p n=3  what to double (an integer in [0, 9])",
        "    -p word=a  what to say (one of a, b)",
        "02_show  Showing",
        "    fresh",
        "    -p family=tiny  model family (a text)",
    ]


def test_check_passes_what_is_fresh(book, capsys):
    assert cli.main(["check"]) == 0
    assert capsys.readouterr().out == "01_double  fresh\n02_show    fresh\n"


def test_check_fails_what_is_not_and_says_what_mends_it(book, capsys):
    edit(book.root / "entrack/doubling.py", "2 * x", "3 * x")
    assert cli.main(["check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "01_double  stale: module entrack.doubling changed",
        "02_show    fresh",
        "1 of 2 not fresh. Mend with: entrack build --publish 01_double",
    ]
    assert cli.main(["check", "02"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["09"], "no chapter '09'; there are 01_double, 02_show."),
        (["01", "-p", "m=3"], "chapter 01_double has no parameter 'm'; it takes n, word."),
        (["01", "-p", "n=x"], "n=x is not an integer; allowed is an integer in [0, 9]. Try n=3."),
        (["01", "-p", "n=10"], "n=10 is out of range; allowed is an integer in [0, 9]. Try n=3."),
        (["01", "-p", "word=c"], "word=c is not a choice; allowed is one of a, b. Try word=a."),
        (["01", "-p", "n"], "-p n has no value; name=value is needed. Try -p n=..."),
        (
            ["01", "--family", "tiny"],
            "chapter 01_double has no parameter 'family'; it takes n, word.",
        ),
        (
            ["02", "--family", "tinny"],
            "family=tinny is not known; there are tiny, and any folder or hub id.",
        ),
        (["02", "--model", "tiny"], "chapter 02_show has no parameter 'model'; it takes family."),
    ],
)
def test_bad_input_is_refused_before_anything_runs(book, never_run, capsys, arguments, message):
    assert cli.main(["run", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"entrack: {message}")


def test_a_run_prints_where_it_went_and_compares(book, capsys):
    edit(book.notebooks / "02_show.py", '"answer", 42', '"answer", 44.5')
    assert cli.main(["run", "02", "--family", "tiny/base", "--compare"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("runs/02_show-") and (book.root / printed[0]).exists()
    assert printed[1].split() == ["number", "published", "this", "run", "difference"]
    assert printed[2].split() == ["answer", "42", "44.5", "+2.5"]


def test_a_failing_chapter_exits_with_1(book, capsys):
    edit(book.notebooks / "02_show.py", '"answer", 42', "answer")
    assert cli.main(["run", "02"]) == 1
    error = capsys.readouterr().err
    assert "entrack: chapter 02_show failed in code cell 3, with family='tiny':" in error
    assert "NameError: name 'answer' is not defined" in error


def test_an_interruption_exits_with_130_and_a_sentence(book, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    assert cli.main(["run", "01"]) == 130
    assert capsys.readouterr().err.strip() == cli.INTERRUPTED


def test_build_executes_what_it_is_told(book, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        cli.building, "build", lambda *a, **options: seen.append((a[1:], options)) or book.root
    )
    for arguments in (
        [],
        ["--all"],
        ["--html-only"],
        ["--publish", "--no-html", "--jobs", "3", "02"],
    ):
        assert cli.main(["build", *arguments]) == 0
    assert [
        (options["execute_which"], options["publish"], options["html"]) for _, options in seen
    ] == [
        ("stale", False, True),
        ("all", False, True),
        ("nothing", False, True),
        ("stale", True, False),
    ]
    assert [chapter.name for chapter in seen[-1][0][0]] == ["02_show"]
    assert [options["jobs"] for _, options in seen] == [None, None, None, 3]


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused(book, jobs, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["build", f"--jobs={jobs}"])
    assert (
        caught.value.code == 2
        and f"{jobs!r} is no number of chapters; 1 or more are executed at once"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["build", "--all", "--html-only"], ["run"]]
)
def test_a_command_that_makes_no_sense_exits_with_2(book, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_every_command_explains_itself(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            cli.main([name, "--help"])
        assert caught.value.code == 0 and cli.COMMANDS[name][2] in capsys.readouterr().out


class TestFetch:
    @pytest.fixture
    def asked(self, monkeypatch):
        """The files of which a converted copy was asked for."""
        asked = []
        monkeypatch.setattr(
            cli, "converted", lambda source: asked.append(source["file"]) or "somewhere"
        )
        return asked

    def test_makes_the_copy_of_the_default_family_and_says_where(self, asked, capsys):
        assert cli.main(["fetch"]) == 0
        assert asked == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
        assert capsys.readouterr().out == f"{DEFAULT} is ready in somewhere\n"

    def test_another_family_by_its_name(self, asked, capsys):
        assert cli.main(["fetch", "--family", "gemma3"]) == 0
        assert asked == ["gemma-3-270m-q4_k_m.gguf"]

    def test_all_that_come_in_packages(self, asked, capsys):
        assert cli.main(["fetch", "--family", "all"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert {"smollm2 is ready in somewhere", "gemma3 is ready in somewhere"} <= set(told)
        assert not any("llama-7b" in line for line in told)

    def test_a_family_of_the_hub(self, asked, capsys):
        assert cli.main(["fetch", "--family", "llama-7b"]) == 2
        assert (
            f"the weights of llama-7b do not come in a package; those of {DEFAULT}, gemma3,"
            " smollm2" in capsys.readouterr().err
        )
        assert not asked

"""Every chapter on one family: what fails stops no other, and nothing starts that cannot end."""

import json

import pytest
from random_family import write_family

from entrack import cli, family_run
from entrack.book.chapters import project
from entrack.errors import ChapterError

TAKE_A_FAMILY = [
    chapter.name
    for chapter in project().chapters()
    if "family" in {parameter.name for parameter in chapter.parameters}
]


@pytest.fixture
def family(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_MODELS", "")
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own").mkdir()
    return write_family(tmp_path / "own")


@pytest.fixture
def ran(monkeypatch):
    """The chapters that were run, and with which values; the one named `fails` fails."""
    seen = {}

    def run(chapter, values):
        seen[chapter.name] = values
        if chapter.name == TAKE_A_FAMILY[2]:
            raise ChapterError(f"chapter {chapter.name} failed in code cell 3.")
        return chapter.project.runs / f"{chapter.name}-x.ipynb"

    monkeypatch.setattr(family_run, "run", run)
    return seen


def test_one_that_fails_is_named_and_stops_no_other(family, ran, capsys):
    assert cli.main(["run-all", "--family", str(family)]) == 1
    assert ran == {name: {"family": "random"} for name in TAKE_A_FAMILY}
    told = capsys.readouterr()
    written = [f"runs/{name}-x.ipynb" for name in TAKE_A_FAMILY if name != TAKE_A_FAMILY[2]]
    assert told.out.splitlines() == written
    assert f"entrack: chapter {TAKE_A_FAMILY[2]} failed in code cell 3." in told.err
    assert (
        f"1 of {len(TAKE_A_FAMILY)} chapters did not come to their end on random:"
        f" {TAKE_A_FAMILY[2]}. The same command goes on: what had finished is stored." in told.err
    )


def test_all_well_is_exit_code_0(family, monkeypatch):
    monkeypatch.setattr(family_run, "run", lambda chapter, values: chapter.project.runs / "x.ipynb")
    assert cli.main(["run-all", "--family", str(family)]) == 0


def test_weights_that_are_not_here_stop_it_before_anything_runs(family, ran, capsys):
    described = json.loads(family.read_text())
    described["versions"]["other"]["folder"] = "random/elsewhere"
    family.write_text(json.dumps(described))
    assert cli.main(["run-all", "--family", str(family)]) == 1
    assert not ran
    told = capsys.readouterr().err
    assert told.startswith("entrack: the weights of random are not all here: other;")
    assert len(told.splitlines()) == 1


def test_an_unknown_family_stops_it_too(family, ran, capsys):
    assert cli.main(["run-all", "--family", "llama-8b"]) == 2
    assert not ran and "family=llama-8b is not known; there are" in capsys.readouterr().err


def test_models_are_listed_by_the_command(family, capsys):
    assert cli.main(["models", str(family)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("random  Random\n  terms: none needed; ")
    assert "whole model in random/tuned" in told and "structure   read at" in told
    assert cli.main(["models"]) == 0
    assert "llama-7b  LLaMA-7B" in capsys.readouterr().out
    assert cli.main(["models", "nope"]) == 1
    assert "entrack: no family 'nope'; there are" in capsys.readouterr().err

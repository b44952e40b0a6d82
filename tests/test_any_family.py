"""Every chapter runs on a family that it has never heard of, by its name alone."""

import re

import pytest
from random_family import write_family

from entrack import cli
from entrack.book.chapters import glued, project
from entrack.book.execution import execute
from entrack.display.cells import CLAIMS
from entrack.errors import ChapterError
from entrack.stats.rules import NOT_RUN, VERDICTS

CHAPTERS = [
    chapter.name
    for chapter in project().chapters()
    if "family" in {parameter.name for parameter in chapter.parameters}
]
NEED_A_CIRCUIT = ("03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "A2")
READ_A_RECORD = ("15",)
"""Chapters that compute no model."""
SENTENCE = re.compile(r"^(Chapter|Config|Site|Task)Error: .+\. \S.+\.$", re.MULTILINE)
LEAST = {"n_scenes": 4, "n_pairs": 7, "n_means": 14}
"""Sizes that every chapter allows and that a random model needs no more than."""


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The file of a random family; its folder and an empty cache are in the environment."""
    folder = tmp_path_factory.mktemp("families")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTRACK_MODELS", str(folder))
        patch.setenv("ENTRACK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield write_family(folder)


def least(chapter) -> dict[str, str]:
    """The smallest sizes that a chapter's parameters allow, as typed."""
    return {
        parameter.name: str(LEAST.get(parameter.name, max(1, int(parameter.low))))
        for parameter in chapter.parameters
        if parameter.name.startswith("n_")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_on_any_family(family, name):
    """Random weights do not do the task, so their circuits are empty. A chapter that needs one ends
    in a sentence of ours that says so; every other runs to its end.
    """
    chapter = project().find(name)
    values = chapter.values({"family": family.stem, **least(chapter)})
    try:
        notebook = execute(chapter, values, progress=False).notebook
    except ChapterError as error:
        assert name[:2] in NEED_A_CIRCUIT, error
        assert SENTENCE.search(str(error)), error
        return
    records = [
        record
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for record in output.get("data", {}).get(CLAIMS, [])
    ]
    assert records and {record["verdict"] for record in records} <= set(VERDICTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHAPTERS if name[:2] in READ_A_RECORD])
def test_a_chapter_of_a_record_says_what_the_record_lacks(name):
    chapter = project().find(name)
    notebook = execute(chapter, chapter.values({"family": "llama-7b"}), progress=False).notebook
    texts = "".join(
        output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "No run of this family is recorded" in texts
    assert {glued(notebook)[f"verdict_{slug}"] for slug in ("stable_lineages", "stable_heads")} == {
        NOT_RUN
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHAPTERS if name[:2] not in READ_A_RECORD])
def test_a_chapter_gets_as_far_as_weights_that_are_not_here(name, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert cli.main(["run", name, "--family", "llama-7b"]) == 1
    told = capsys.readouterr().err
    assert "ModelError: 'huggyllama/llama-7b' at revision" in told
    assert "a reachable hub, or its local copy, with safetensors" in told
    assert "Traceback" not in told

"""A tiny model with a circuit planted by hand: the search finds its heads, and every chapter runs
to its end on its family.
"""

import re

import pytest
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model, write_family

from entrack.book.chapters import project
from entrack.book.execution import execute
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.display.cells import CLAIMS
from entrack.patching.accuracy import score_task
from entrack.stats.rules import VERDICTS
from entrack.task.draws import scenes

CHAPTERS = [
    chapter.name
    for chapter in project().chapters()
    if "family" in {parameter.name for parameter in chapter.parameters}
]
WITHOUT_CLAIMS = {"11_explorer", "A2_own_circuits"}
WITHOUT_FIGURES = {"11_explorer", "14_along_training"}
"""The second follows recipes, and this family has none."""
LEAST = {
    "n_scenes": 4, "n_pairs": 7, "n_pairs_own": 7, "n_pairs_more": 14, "n_means": 28,
    "n_evaluation": 28, "n_complete": 14, "n_judged": 28, "n_prompts": 42, "n_patterns": 7,
    "n_train": 2, "n_validation": 2, "n_test": 3, "n_seeds": 2, "n_rivals": 4, "n_desiderata": 7,
}  # fmt: skip


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The file of the planted family; its folder and an empty cache are in the environment."""
    folder = tmp_path_factory.mktemp("families")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTRACK_MODELS", str(folder))
        patch.setenv("ENTRACK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield write_family(folder)


def test_the_versions_do_the_task_as_planned():
    drawn = scenes(30, split="evaluation")
    right = {
        name: score_task(planted_model(name, version), drawn).accuracy().value
        for name, version in VERSIONS.items()
    }
    assert 0.6 <= right["plain"] <= 0.8
    assert right["better"] >= 0.95
    assert abs(right["same"] - right["plain"]) <= 0.05


def test_the_search_finds_the_planted_heads(own_cache):
    model = planted_model("better", VERSIONS["better"])
    settings = CircuitSettings(
        n_pairs=7,
        n_means=28,
        discovery=DiscoveryConfig(structure_role="after_prev_query_label"),
    )
    found = find_circuit(model, settings)
    for group, planted in PLANTED_CIRCUIT.groups.items():
        heads = set(planted)
        assert set(found.discovery.scores[group].ranked()[:2]) == heads, group
        assert set(found.discovery.top(group, 0.5)) <= heads, group


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_to_its_end_where_there_is_a_circuit(family, name):
    """A cell that raised would be a ChapterError."""
    chapter = project().find(name)
    least = LEAST | ({"n_prompts": 7} if name == "11_explorer" else {})
    sizes = {
        parameter.name: str(least.get(parameter.name, max(1, int(parameter.low))))
        for parameter in chapter.parameters
        if parameter.name.startswith("n_")
    }
    notebook = execute(
        chapter, chapter.values({"family": family.stem, **sizes}), progress=False
    ).notebook
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    records = [r for output in outputs for r in output.get("data", {}).get(CLAIMS, [])]
    assert bool(records) == (name not in WITHOUT_CLAIMS)
    assert {record["verdict"] for record in records} <= set(VERDICTS)
    told = [alternative(output) for output in outputs if is_figure(output)]
    assert bool(told) == (name not in WITHOUT_FIGURES)
    assert all(len(alt.split()) >= 3 for alt in told)


def is_figure(output) -> bool:
    data = output.get("data", {})
    return "image/svg+xml" in data or 'class="live-figure"' in data.get("text/html", "")


def alternative(output) -> str:
    """What a reader who does not see a figure is told."""
    if "image/svg+xml" in output["data"]:
        return output["metadata"]["image/svg+xml"]["alt"]
    return re.search('aria-label="([^"]*)"', output["data"]["text/html"])[1]

"""What stands in `models/`: every adapter is the one on its card, and the card is its recipe's."""

import json
import re

import pytest

from entrack.finetune.data import items
from entrack.finetune.recipes import RECIPES
from entrack.models import MODELS, family_file, load, versions
from entrack.provenance import digest
from entrack.weights import sha256_file

TRAINED = ("base", "instruct", "math", "code", "boxes")


def card(version: str) -> dict:
    return json.loads((MODELS / "smollm2" / version / "card.json").read_text())


def accuracy(version: str, format: str = "alternative") -> dict:
    return card(version)["accuracy"]["evaluation"][format]


def test_the_family_is_complete():
    assert versions("smollm2") == ("raw", *TRAINED)
    assert tuple(RECIPES) and set(RECIPES) == set(TRAINED)


@pytest.mark.parametrize("version", TRAINED)
class TestEveryVersion:
    def test_adapter_is_the_one_on_the_card(self, version):
        adapter = MODELS / "smollm2" / version / "adapter_model.safetensors"
        assert card(version)["adapter_sha256"] == sha256_file(adapter)
        assert card(version)["adapter_bytes"] == adapter.stat().st_size < 5_000_000

    def test_card_holds_the_recipe_that_train_would_follow(self, version):
        assert card(version)["recipe"] == json.loads(json.dumps(RECIPES[version].record()))

    def test_data_can_be_made_again(self, version):
        chosen = RECIPES[version]
        data = items(chosen.data, chosen.horizon * chosen.batch, seed=chosen.seed)
        assert card(version)["data_digest"] == digest(data[: chosen.steps * chosen.batch])

    def test_it_stands_on_what_the_family_says(self, version):
        assert card(version)["on"] == family_file("smollm2")["versions"][version]["on"] == RECIPES[version].on

    def test_measured_on_enough_prompts_in_both_formats(self, version):
        for split in ("validation", "evaluation"):
            for found in card(version)["accuracy"][split].values():
                low, high = found["interval_95"]
                assert found["n_prompts"] >= 490 and low < found["accuracy"] < high or found["accuracy"] == high == 1.0
        assert set(card(version)["accuracy"]["evaluation"]) == {"alternative", "standard"}

    def test_no_pickles_and_no_paths_of_a_machine(self, version):
        folder = MODELS / "smollm2" / version
        assert {p.name for p in folder.iterdir()} == {"adapter_model.safetensors", "adapter_config.json", "card.json"}
        for name in ("card.json", "adapter_config.json"):
            assert not re.search(r'"(/\w|[A-Z]:\\)', (folder / name).read_text())

    def test_readme_tells_its_accuracy(self, version):
        row = next(line for line in readme().splitlines() if line.startswith(f"| `{version}` |"))
        assert f"{accuracy(version)['accuracy']:.3f}" in row


def readme() -> str:
    return (MODELS / "README.md").read_text()


def test_base_does_the_task_about_as_well_as_the_papers():
    low, high = accuracy("base")["interval_95"]
    assert low < 0.66 < high or abs(accuracy("base")["accuracy"] - 0.66) < 0.04


def test_code_helps_by_fifteen_points():
    assert accuracy("code")["accuracy"] - accuracy("base")["accuracy"] >= 0.15


def test_revisions_are_whole_commits_or_absent_with_a_reason():
    for described in family_file("llama-7b")["versions"].values():
        revision = described["revision"]
        assert revision is None or re.fullmatch(r"[0-9a-f]{40}", revision)
        assert described["revision_note"]


@pytest.mark.slow
def test_a_loaded_version_answers_as_its_card_says():
    from entrack.finetune.measure import box_accuracy

    model = load("smollm2/base", device="cpu")
    assert card("code")["on_digest"] == model.digest
    found = box_accuracy(model.hf, model.tokenizer, split="validation", n_scenes=70)
    assert found.summary() == card("base")["accuracy"]["validation"]["alternative"]

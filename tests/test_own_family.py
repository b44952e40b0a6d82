"""A family file of the user's own, given to the command by its path: weights in folders, and
weights that a hub's client keeps."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from random_family import write_family
from tiny_models import tiny_model

from entrack import cli
from entrack.book.chapters import glued, project

pytestmark = pytest.mark.slow

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def family(tmp_path, monkeypatch):
    """The file of a family of two whole models and an adapter, in folders."""
    monkeypatch.setenv("ENTRACK_MODELS", "")
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "own").mkdir()
    file = write_family(tmp_path / "own")
    place = file.parent / "random" / "tuned"
    shutil.rmtree(place)
    torch.manual_seed(3)
    lora = LoraConfig(r=2, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    get_peft_model(tiny_model(n_layers=8, seed=32).hf, lora).save_pretrained(place)
    return file


def to_hub(file, hub):
    """Move the weights to where the hub's client keeps them, and name them so in the file."""
    described = json.loads(file.read_text())
    described["source"] = {"kind": "hub"}
    for name, about in described["versions"].items():
        if name == "other":
            about["on"] = None  # what stands on another version is an adapter on a hub
        place = hub / f"models--mine--{name}" / "snapshots" / REVISION
        place.parent.mkdir(parents=True)
        shutil.move(file.parent / about.pop("folder"), place)
        about |= {"hub": f"mine/{name}", "revision": REVISION}
    file.write_text(json.dumps(described))


def run(file, capsys) -> dict[str, object]:
    """What chapter 1 glues, run on the family of `file`."""
    sizes = ["-p", "n_scenes=4", "-p", "n_scenes_sizes=2"]
    assert cli.main(["run", "01", "--family", str(file), *sizes]) == 0, capsys.readouterr().err
    path = project().root / capsys.readouterr().out.strip()
    return glued(project().find("01").read(path))


def test_folders_and_a_hub_give_the_same_numbers(family, tmp_path, capsys):
    in_folders = run(family, capsys)
    assert in_folders["reference"] == "plain"
    to_hub(family, tmp_path / "hub")
    assert cli.main(["models", str(family)]) == 0
    told = capsys.readouterr().out
    assert "in the cache of the hub: mine/tuned at 0123456789ab" in told
    assert run(family, capsys) == in_folders


def test_every_chapter_is_tried_on_what_the_hub_holds(family, tmp_path, monkeypatch, capsys):
    from entrack import family_run

    to_hub(family, tmp_path / "hub")
    tried = []
    monkeypatch.setattr(
        family_run,
        "run",
        lambda chapter, values: tried.append(chapter.name) or project().root / "x",
    )
    assert cli.main(["run-all", "--family", str(family)]) == 0
    assert tried[0] == "01_task" and capsys.readouterr().err == ""

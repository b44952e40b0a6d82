"""Where weights are, what they need, and what is checked before every chapter runs on a family."""

import json
import shutil
import types

import pytest
import torch
from closeness import additions, assert_close
from peft import LoraConfig, get_peft_model
from random_family import write_family
from safetensors.torch import save_file
from tiny_models import tiny_model

from entrack.errors import ModelError
from entrack.versions import needs as needs_module
from entrack.versions import whereabouts as whereabouts_module
from entrack.versions.families import families, focus, tuned_from, versions
from entrack.versions.loading import load
from entrack.versions.model_list import family_text, models_text
from entrack.versions.needs import check_disk, check_memory, header_bytes, parameters
from entrack.versions.whereabouts import check_ready, needs, whereabouts

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def own_family(tmp_path, monkeypatch):
    """The file of a family in a folder of the user's own."""
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path / "own"))
    return write_family(tmp_path / "own")


def describe(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def free(monkeypatch, bytes_):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=bytes_))
    monkeypatch.setattr(whereabouts_module, "default_device", lambda: "cpu")


class TestNeeds:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_headers_say_how_many_bytes_the_loaded_weights_take(self, folder, dtype):
        loaded = load(str(folder), device="cpu", dtype=dtype)
        held = sum(p.numel() * p.element_size() for p in loaded.hf.parameters())
        assert header_bytes(sorted(folder.glob("*.safetensors")), dtype) == held

    def test_integers_keep_their_size(self, tmp_path):
        file = tmp_path / "x.safetensors"
        save_file({"a": torch.zeros(3, dtype=torch.int64), "b": torch.zeros(5)}, file)
        assert header_bytes([file], torch.bfloat16) == 3 * 8 + 5 * 2

    @pytest.mark.parametrize("length", [0, 5, 20])
    def test_a_header_that_is_cut_short(self, tmp_path, length):
        file = tmp_path / "x.safetensors"
        save_file({"a": torch.zeros(3)}, file)
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(ValueError, match="x.safetensors is cut short in its header"):
            header_bytes([file], torch.float32)

    def test_a_config_says_how_many_parameters_the_model_has(self, tiny):
        own = sum(p.numel() for p in tiny.hf.parameters())
        assert parameters(tiny.config) == own

    def test_the_seven_billion_of_the_papers_family_are_counted_without_its_weights(self):
        layer = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
        assert needs("llama-7b").parameters == 32 * layer + 2 * 32000 * 4096 + 4096

    def test_too_little_memory_on_the_way_to_another_device(self, monkeypatch):
        monkeypatch.setattr(
            needs_module, "free_memory", lambda device: 10**9 if device == "cpu" else 10**11
        )
        with pytest.raises(ModelError, match=r"needs 5\.0 GB .* 1\.0 GB are free on cpu\. Close"):
            check_memory("big", 5 * 10**9, "cuda")

    def test_the_machine_holds_one_model_on_its_way_and_the_device_all(self, monkeypatch):
        room = {"cpu": 7 * 10**9, "cuda": 30 * 10**9}
        monkeypatch.setattr(needs_module, "free_memory", room.get)
        check_memory("big", 5 * 10**9, "cuda", models=5)
        with pytest.raises(ModelError, match=r"needs 30\.0 GB .* 30\.0 GB are free on cuda\."):
            check_memory("big", 5 * 10**9, "cuda", models=6)
        with pytest.raises(ModelError, match=r"needs 10\.0 GB .* 7\.0 GB are free on cpu\."):
            check_memory("big", 5 * 10**9, "cpu", models=2)

    def test_too_little_disk(self, tmp_path, monkeypatch):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=2 * 10**9)
        )
        check_disk("big", 10**9, tmp_path / "not" / "there")
        with pytest.raises(
            ModelError,
            match=r"'big' needs 3\.0 GB on the disk of .*; 2\.0 GB are free there\. Free",
        ):
            check_disk("big", 3 * 10**9, tmp_path / "not" / "there")


class TestList:
    def test_a_family_in_folders_of_its_own(self, own_family):
        assert [(w.here, w.place) for w in whereabouts("random")] == [
            (True, f"whole model in random/{name}") for name in ("plain", "tuned", "other")
        ]
        shutil.rmtree(own_family.parent / "random" / "other")
        lost = whereabouts("random")[2]
        assert not lost.here and lost.place.startswith("not here: no safetensors in ")

    def test_a_packaged_family_and_what_brings_it(self, family):
        before = whereabouts("tiny")
        assert [w.here for w in before] == [False, True, False]
        assert before[0].place.startswith("not here: `entrack fetch --family tiny` brings it from")
        assert before[1].place.startswith("adapter in models/ (")
        assert before[2].place == "not here: `entrack train code --family tiny` makes it"
        load("tiny/raw", device="cpu")
        assert whereabouts("tiny")[0].place == "in the cache"

    def test_a_family_of_the_hub(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        found = {w.version: w for w in whereabouts("llama-7b")}
        assert found["llama"].place.startswith(
            "not here: the first run fetches huggyllama/llama-7b"
        )
        assert found["goat"].place == "left out: no revision of tiedong/goat-lora-7b is pinned"
        place = tmp_path / "models--huggyllama--llama-7b" / "snapshots"
        place = place / "8416d3fefb0cb3ff5775a7b13c1692d10ff1aa16"
        place.mkdir(parents=True)
        save_file({"a": torch.zeros(1)}, place / "model.safetensors")
        here = whereabouts("llama-7b")[0]
        assert here.here and here.place.startswith("in the cache of the hub: huggyllama")

    def test_every_family_with_its_terms_and_all_its_versions(self, own_family):
        text = models_text()
        for name in families():
            assert f"{name}  " in text
        assert "terms: Apache-2.0; 135 million parameters, 0.54 GB of memory in float32" in text
        count = needs("random").parameters
        assert f"random  Random\n  terms: none needed; {count:,} parameters, " in text

    def test_one_family_in_detail(self, own_family):
        lines = family_text("random").splitlines()
        count = parameters(tiny_model(n_layers=8, seed=32).config)
        assert f"  memory      {count * 4 / 1e6:.1f} MB a version in float32" in lines
        assert f"  memory      {count * 2 / 1e6:.1f} MB a version in bfloat16" in lines
        assert "  whole       3 of the versions; the others are adapters" in lines
        assert "  download    nothing for a whole one" in lines
        assert "  focus       tuned, the version whose gain the chapters look into" in lines

    def test_an_unknown_family(self):
        with pytest.raises(ModelError, match="no family 'nope'; there are smollm2"):
            family_text("nope")


class TestAdapterInAFolder:
    def test_it_is_merged_into_the_version_that_it_stands_on(self, own_family):
        place = own_family.parent / "random" / "tuned"
        shutil.rmtree(place)
        torch.manual_seed(3)
        peft = get_peft_model(
            tiny_model(n_layers=8, seed=32).hf,
            LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False),
        )
        tokens = torch.arange(12)[None]
        with torch.no_grad():
            expected = peft(tokens).logits
        peft.save_pretrained(place)
        found, plain = (load(f"random/{v}", device="cpu") for v in ("tuned", "plain"))
        with torch.no_grad():
            unmerged = plain.hf(tokens).logits
            terms = additions(found, tokens.shape[1])
            assert_close(found.hf(tokens).logits, expected, terms=terms, unlike=unmerged)
        assert found.digest != plain.digest
        assert (found.family, found.version) == ("random", "tuned")
        assert whereabouts("random")[1].place == "adapter in random/tuned"
        assert needs("random").whole == 2


class TestUnpinned:
    def test_versions_without_a_revision_are_left_out(self):
        assert versions("llama-7b") == ("llama", "vicuna")
        assert tuned_from("llama-7b", "llama") == ("vicuna",)

    def test_another_version_stands_in_for_a_focus_that_is_left_out(self, tmp_path, monkeypatch):
        assert focus("llama-7b") == "vicuna"
        from entrack.versions.families import family_file

        described = family_file("llama-7b")
        described["versions"]["float"]["revision"] = "0" * 40
        (tmp_path / "llama-7b.json").write_text(json.dumps(described))
        monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path))
        assert focus("llama-7b") == "float" and versions("llama-7b") == ("llama", "vicuna", "float")


class TestReady:
    def test_all_is_there(self, own_family):
        assert check_ready("random") == []

    def test_weights_that_no_hub_can_bring(self, own_family):
        shutil.rmtree(own_family.parent / "random" / "other")
        with pytest.raises(
            ModelError,
            match="weights of random are not all here: other; .* `entrack models random` says what",
        ):
            check_ready("random")

    def test_memory_must_hold_all_versions(self, own_family, monkeypatch):
        one = needs("random").memory(torch.float32)
        free(monkeypatch, int(1.3 * 3 * one))
        check_ready("random")
        free(monkeypatch, int(1.3 * one))
        with pytest.raises(ModelError, match="'random with 3 versions at once' needs 0.0 GB"):
            check_ready("random")

    def test_a_hub_that_cannot_be_reached(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        free(monkeypatch, 10**12)

        def unreachable(*arguments, **options):
            raise OSError("We couldn't connect to the hub\nand more lines")

        monkeypatch.setattr("transformers.utils.cached_file", unreachable)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**12))
        with pytest.raises(
            ModelError,
            match=r"llama-7b/llama are not here and 'huggyllama/llama-7b' at revision '8416.*"
            r" cannot be reached \(We couldn't connect to the hub\); a reachable hub, or a local",
        ):
            check_ready("llama-7b")
        monkeypatch.setattr("transformers.utils.cached_file", lambda *a, **o: "config.json")
        left_out = check_ready("llama-7b")
        assert [line.split()[2] for line in left_out] == ["llama-7b/goat", "llama-7b/float"]
        assert all("no revision is pinned" in line for line in left_out)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**9))
        with pytest.raises(ModelError, match=r"'llama-7b' needs 27\.0 GB on the disk of"):
            check_ready("llama-7b")

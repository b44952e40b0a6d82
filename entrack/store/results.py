"""Results that last: dataclasses saved as JSON and npz, found again by a digest of what made them.

`stored` is what makes a second run quick and an interrupted one go on. A result is found only if
its name, its key (model digest, data, settings) and the code that computes it are the same."""

import contextlib
import dataclasses
import importlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from entrack.errors import DataError
from entrack.store.digests import cache_dir, cannot_write, code_digest, digest, write_atomic


def stored(
    compute: Callable[[], Any], *, name: str, key: Sequence[Any], modules: Sequence[str]
) -> Any:
    """`compute()`, or what it gave before for the same name, key and code.

    Args:
        name: what it is, for the file name.
        key: everything that determines the result: model digest, prompts, settings.
        modules: entrack modules that compute it (with all that they import).

    Raises:
        DataError: the disk is full. A damaged file counts as absent and is replaced.

    Of several processes that ask for the same result at once, one computes it and the others wait
    for it."""
    import torch
    import transformers

    made_by = digest(
        name, list(key), code_digest(*modules), torch.__version__, transformers.__version__
    )
    path = cache_dir() / "results" / f"{name}-{made_by}.zip"
    with contextlib.suppress(DataError):
        return load(path)
    with _alone(path):
        with contextlib.suppress(DataError):
            return load(path)
        result = compute()
        save(path, result)
    return result


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a result; a process that dies gives it up."""
    file = path.with_suffix(".lock")
    lock = FileLock(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(
                f"another process computes {path.stem}; waiting for it", file=sys.stderr, flush=True
            )
            lock.acquire()
    except OSError as error:
        raise cannot_write(path, 0, error) from error
    try:
        yield
    finally:
        # Whoever waits on this file looks for the result next; whoever comes later makes a new one.
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()


def save(path: Path, result: Any) -> None:
    """Write a result (dataclasses, arrays, plain values, nested) to one zip of JSON and npy files,
    atomically.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _to_tree(result, arrays)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.json", json.dumps(tree, sort_keys=True))
        for key, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(f"{key}.npy", member.getvalue())
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> Any:
    """Read what `save` wrote. Raises DataError when the file is damaged or not one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            tree = json.loads(archive.read("result.json"))
            arrays = {
                n[:-4]: np.load(io.BytesIO(archive.read(n)), allow_pickle=False)
                for n in archive.namelist()
                if n.endswith(".npy")
            }
        return _from_tree(tree, arrays)
    except (
        Exception
    ) as error:  # zip, zlib, npy, JSON and the results' own checks each raise kinds of their own
        raise DataError(
            f"the stored result {path.name} cannot be read ({error}); it must be a file written by"
            " entrack. Delete it: it will be computed again."
        ) from error


def _to_tree(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        key = f"array{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {
            f.name: _to_tree(getattr(value, f.name), arrays) for f in dataclasses.fields(value)
        }
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    if isinstance(value, dict):
        return {"items": [[_to_tree(k, arrays), _to_tree(v, arrays)] for k, v in value.items()]}
    if isinstance(value, (tuple, list)):
        return {
            "tuple" if isinstance(value, tuple) else "list": [_to_tree(v, arrays) for v in value]
        }
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise DataError(
        f"a {type(value).__name__} cannot be stored; allowed are dataclasses, arrays and plain"
        " values. Convert it first."
    )


def _from_tree(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "class" in tree:
        module, _, name = tree["class"].partition(":")
        if not module.startswith("entrack."):
            raise ValueError(f"class {tree['class']!r} is not entrack's")
        kind = getattr(importlib.import_module(module), name)
        if not dataclasses.is_dataclass(kind):
            raise ValueError(f"{tree['class']!r} is no result")
        return kind(**{k: _from_tree(v, arrays) for k, v in tree["fields"].items()})
    if "items" in tree:
        return {_from_tree(k, arrays): _from_tree(v, arrays) for k, v in tree["items"]}
    if "tuple" in tree:
        return tuple(_from_tree(v, arrays) for v in tree["tuple"])
    return [_from_tree(v, arrays) for v in tree["list"]]

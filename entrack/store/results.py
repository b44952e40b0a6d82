"""Results that last: dataclasses saved as JSON and npz, found again by a digest of what made them.

`stored` is what makes a second run quick and an interrupted one go on. A result is found only if
its name, every argument of the call, and the code that computes it are the same. Beside each result
lies what it cost to make, and what it was made from cost, so that `spent` can tell what a run takes
from nothing."""

import contextlib
import contextvars
import dataclasses
import functools
import importlib
import inspect
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from entrack.errors import ConfigError, DataError
from entrack.store.digests import cache_dir, cannot_write, code_digest, digest, write_atomic


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A result as it lies in the cache.

    Attributes:
        result: what was computed.
        seconds: what computing it took, without the stored results that it was made from.
        made_from: stem of the file -> seconds, of every stored result that it was made from,
            directly or through others.
    """

    result: Any
    seconds: float
    made_from: Mapping[str, float]


@dataclasses.dataclass
class _Making:
    """A result that is being computed: the seconds spent in stored calls within it, and these."""

    inner: float = 0.0
    made_from: dict[str, float] = dataclasses.field(default_factory=dict)


_around: contextvars.ContextVar[_Making | None] = contextvars.ContextVar("around", default=None)
_spent: dict[str, float] = {}
_inside = [0.0]


def inside() -> float:
    """Seconds that this process has passed in stored calls so far, whether these computed, loaded
    or waited. What a process took, less this, plus the sum of `spent`, is what it takes from
    nothing.
    """
    return _inside[0]


def spent() -> dict[str, float]:
    """What all results used in this process so far cost to make: stem of the file -> seconds.

    Results that were loaded count as much as those that were computed, and so do those that they
    were made from. No second is counted twice, so the sum of the values is what making all of them
    takes from nothing, one after the other, on the machines that made them."""
    return dict(_spent)


def stored(name: str) -> Callable[[Callable[..., Any]], "Stored"]:
    """Decorator: a call of the function gives what the same call gave before, by whatever process.

    The same call is one with the same name, the same arguments (given by position, by keyword or by
    default), the same code of the function's module with all that it imports, and the same versions
    of torch and transformers. So the function must be one of a module of this package, and its
    result must depend on nothing but its arguments.

    Args:
        name: what the result is, for the file name.

    Raises, when called:
        ConfigError: an argument that has no digest (see `digests.digest`), which is named.
        DataError: the disk is full. A damaged file counts as absent and is replaced.

    Of several processes that ask for the same result at once, one computes it and the others wait
    for it."""
    return functools.partial(Stored, name)


class Stored:
    """A function whose results are stored; made by `stored`."""

    def __init__(self, name: str, compute: Callable[..., Any]) -> None:
        functools.update_wrapper(self, compute)
        self.name, self._compute, self._signature = name, compute, inspect.signature(compute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        path = self.path(*args, **kwargs)
        kept = self._kept(path, args, kwargs)
        cost = {**kept.made_from, path.stem: kept.seconds}
        _spent.update(cost)
        if (around := _around.get()) is not None:
            around.made_from.update(cost)
            around.inner += time.perf_counter() - begun
        else:
            _inside[0] += time.perf_counter() - begun
        return kept.result

    def path(self, *args: Any, **kwargs: Any) -> Path:
        """The file that holds the result of this call, or would hold it."""
        import torch
        import transformers

        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        made_by = digest(
            self.name,
            {
                argument: self._digest(argument, value)
                for argument, value in bound.arguments.items()
            },
            code_digest(self._compute.__module__),
            torch.__version__,
            transformers.__version__,
        )
        return cache_dir() / "results" / f"{self.name}-{made_by}.zip"

    def _digest(self, argument: str, value: Any) -> str:
        try:
            return digest(value)
        except ConfigError as error:
            raise ConfigError(
                f"argument {argument!r} of the stored result {self.name!r} cannot be part of its"
                f" key: {error}"
            ) from error

    def _kept(self, path: Path, args: tuple, kwargs: dict[str, Any]) -> Kept:
        with contextlib.suppress(DataError):
            return load(path)
        with _alone(path):
            with contextlib.suppress(DataError):
                return load(path)
            making = _Making()
            token = _around.set(making)
            begun = time.perf_counter()
            try:
                result = self._compute(*args, **kwargs)
            finally:
                _around.reset(token)
            seconds = time.perf_counter() - begun - making.inner
            kept = Kept(result, seconds, making.made_from)
            save(path, kept)
        return kept


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


def save(path: Path, kept: Kept) -> None:
    """Write a result (dataclasses, arrays, plain values, nested) and its cost to one zip of JSON
    and npy files, atomically.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _to_tree(kept.result, arrays)
    cost = {"seconds": kept.seconds, "made_from": dict(kept.made_from)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.json", json.dumps(tree, sort_keys=True))
        archive.writestr("cost.json", json.dumps(cost, sort_keys=True))
        for key, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(f"{key}.npy", member.getvalue())
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> Kept:
    """Read what `save` wrote. Raises DataError when the file is damaged or not one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            tree = json.loads(archive.read("result.json"))
            cost = json.loads(archive.read("cost.json"))
            arrays = {
                n[:-4]: np.load(io.BytesIO(archive.read(n)), allow_pickle=False)
                for n in archive.namelist()
                if n.endswith(".npy")
            }
        return Kept(_from_tree(tree, arrays), cost["seconds"], cost["made_from"])
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

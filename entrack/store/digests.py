"""What made a result: digests of values and of code, and files that are either whole or absent.

A stored result may be used again only if nothing that made it has changed. `digest` says so for
values (settings, prompts, weights) and `code_digest` for the package's own code. Both give the same
text on every machine."""

import ast
import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import secrets
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from entrack.errors import ConfigError, DataError

DIGEST_LENGTH = 32  # hex characters: 128 bits, short enough for a file name
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


def cache_dir() -> Path:
    """The folder for everything that can be made again; created when missing.

    `ENTRACK_CACHE` names it, else it is `~/.cache/entrack`. Raises DataError when it cannot be
    created."""
    folder = Path(
        os.environ.get("ENTRACK_CACHE") or Path.home() / ".cache" / "entrack"
    ).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cache folder {folder} cannot be created ({error.strerror}); a writable folder is"
            " needed. Set ENTRACK_CACHE to one."
        ) from error
    return folder


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one, whatever
    happens meanwhile.

    The bytes go to a temporary file in the same folder (created when missing), are flushed to the
    disk, and then take the name `path` in one step. Several processes may write the same path at
    once: the last one wins. Raises DataError, leaving nothing half-written, when the disk is full
    or the folder cannot be written to."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, len(data), error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def cannot_write(path: Path, n_bytes: int, error: OSError) -> DataError:
    """What to raise when `n_bytes` cannot be written to `path` because of `error`."""
    if error.errno not in _FULL_DISK:
        return DataError(
            f"{path} cannot be written ({error.strerror}); a writable folder is needed. "
            "Change its permissions, or set ENTRACK_CACHE if it is the cache."
        )
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    return DataError(
        f"no space left in {path.parent}; {path.name} needs {_megabytes(n_bytes)} and"
        f" {_megabytes(free)} are free. Free some space, or set ENTRACK_CACHE to another folder,"
        " and run the same command again: what was finished is kept."
    )


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def digest(*parts: object) -> str:
    """A name for the values `parts`: 32 hex characters, the same on every machine and in every
    process.

    Takes None, bool, int, float, str, bytes, sequences, sets, mappings, dataclasses, numpy arrays
    and torch tensors (on any device), nested at will. Types count (1, 1.0 and True differ); list
    and tuple do not differ, nor does the order of a mapping. An object whose class has `identity`
    counts as its class's name and that value: a model is too large to read, and prompts hold more
    than a model sees. Raises ConfigError for anything else: a path or an object has no value that
    travels."""
    hasher = hashlib.sha256()
    for chunk in _chunks(list(parts)):
        hasher.update(chunk)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def _chunks(value: object) -> Iterator[bytes]:
    """The canonical byte form of `value`: each item is tagged with its type and length, so no two
    values collide.
    """
    match value:
        case None | bool() | int() | str():
            yield _tagged(type(value).__name__, str(value).encode())
        case float():
            yield _tagged("float", float(value).hex().encode())
        case np.generic():
            yield from _chunks(value.item())
        case bytes() | bytearray() | memoryview():
            yield _tagged("bytes", bytes(value))
        case np.ndarray():
            little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
            if little.dtype.hasobject:
                raise ConfigError(
                    "an array of Python objects has no digest; only numbers do. Convert it to a"
                    " list."
                )
            yield _tagged("array", f"{little.dtype.str}{value.shape}".encode())
            yield _tagged("data", little.tobytes())
        case Mapping():
            yield _tagged("mapping", str(len(value)).encode())
            for key, item in sorted(
                ((digest(k), v) for k, v in value.items()), key=lambda pair: pair[0]
            ):
                yield key.encode()
                yield from _chunks(item)
        case set() | frozenset():
            yield _tagged("set", "".join(sorted(digest(item) for item in value)).encode())
        case list() | tuple() | range():
            yield _tagged("sequence", str(len(value)).encode())
            for item in value:
                yield from _chunks(item)
        case _ if hasattr(type(value), "identity"):
            yield _tagged("identity", type(value).__qualname__.encode())
            yield from _chunks(value.identity)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield _tagged("dataclass", type(value).__qualname__.encode())
            yield from _chunks(
                {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            )
        case _ if type(value).__module__.partition(".")[0] == "torch":
            yield from _torch_chunks(value)
        case _:
            raise ConfigError(
                f"a {type(value).__name__} has no digest; plain values, dataclasses, arrays and"
                " tensors do. Pass the values that it stands for."
            )


def _torch_chunks(value: object) -> Iterator[bytes]:
    import torch  # only who holds a tensor pays for the import

    if isinstance(value, torch.Tensor):
        yield _tagged("tensor", f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield _tagged("data", flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, torch.dtype | torch.device):
        yield _tagged("torch", str(value).encode())
    else:
        raise ConfigError(
            f"a torch {type(value).__name__} has no digest; tensors do. Pass its tensors."
        )


def _tagged(tag: str, data: bytes) -> bytes:
    return tag.encode() + struct.pack("<q", len(data)) + data


def code_digest(*modules: str, package: Path | None = None) -> str:
    """A name for the code of `modules` and of every entrack module they import, directly or through
    others.

    Comments, docstrings and layout do not count; any change that could alter a result does. See
    `module_digests`."""
    return digest(module_digests(*modules, package=package))


def module_digests(*modules: str, package: Path | None = None) -> dict[str, str]:
    """{module: digest of its code} for `modules` and the entrack modules they import, sorted by
    name.

    modules: dotted names such as "entrack.task.boxes".
    package: the folder of the package to read; by default the one that is running. Nothing is
    imported. A data file of the same stem beside a module (`published.json`) is part of the module.
    `entrack/__init__.py` holds only the version and is left out. Raises ConfigError when a module
    is not in the package. Costs about a millisecond a module."""
    package = package or Path(__file__).parents[1]
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name == package.name:
            continue
        file = _module_file(name, package)
        if file is None:
            raise ConfigError(
                f"module {name!r} is not in {package.name}; name one that is. Check the spelling."
            )
        found[name], imported = _read_module(file, name, package, _written(file))
        waiting += imported
        waiting.append(name.rpartition(".")[0])  # importing a.b.c runs a/b/__init__.py too
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=1024)
def _read_module(
    file: Path, name: str, package: Path, written: tuple[int, ...]
) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    data = file.with_suffix(".json")
    is_package = file.name == "__init__.py"
    imported = tuple(
        imported_modules(
            tree, package=package, within=name if is_package else name.rpartition(".")[0]
        )
    )
    return digest(code_shape(tree), data.read_bytes() if data.exists() else b""), imported


def _written(file: Path) -> tuple[int, ...]:
    return tuple(
        part.stat().st_mtime_ns for part in (file, file.with_suffix(".json")) if part.exists()
    )


def _module_file(name: str, package: Path) -> Path | None:
    first, *rest = name.split(".")
    if first != package.name:
        return None
    folder = package.joinpath(*rest)
    return next(
        (file for file in (folder.with_suffix(".py"), folder / "__init__.py") if file.is_file()),
        None,
    )


def imported_modules(tree: ast.AST, *, package: Path | None = None, within: str = "") -> list[str]:
    """The modules of the package that `tree` imports anywhere, also inside functions; dotted,
    sorted, no doubles.

    within: the dotted package that the code lies in, for relative imports; "" for a script or a
    notebook cell."""
    package = package or Path(__file__).parents[1]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = within.split(".")[: len(within.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            names.add(base)
            # `from entrack import boxes` names a module, `from entrack.task.boxes import Scene`
            # does not: the files decide.
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return sorted(name for name in names if name != package.name and _module_file(name, package))


def code_shape(node: object) -> object:
    """The syntax tree as nested lists without docstrings, positions and comments; the same on every
    Python version.
    """
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        if _is_documented(node):
            fields["body"] = node.body[1:]
        fields.pop("kind", None)
        return [
            type(node).__name__,
            *([name, code_shape(value)] for name, value in sorted(fields.items())),
        ]
    if isinstance(node, list):
        return [code_shape(item) for item in node]
    return f"{type(node).__name__} {node!r}"


def _is_documented(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )

"""Execute a chapter with papermill, whole or not at all.

The source is turned into a notebook in memory and executed in a temporary folder; only a finished,
normalised and stamped notebook gets a name that others read. A failed one is kept apart for whoever
mends it. An interrupted one leaves nothing: what its experiments had finished is in the results
cache, so the same command goes on from there."""

import contextlib
import inspect
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from entrack.book.chapters import Chapter, glued
from entrack.book.freshness import (
    cells_digest,
    get_stamp,
    make_stamp,
    put_stamp,
    used_modules,
)
from entrack.book.notebooks import INJECTED, normalise, notebook_bytes, put_back, set_aside
from entrack.book.pages import claims as judged_claims
from entrack.book.parameters import Value, plain
from entrack.errors import ChapterError
from entrack.store.digests import digest, write_atomic

RUN_ID_LENGTH = 10
RECORD_FORMAT = 1
_HEAD_LINES = 5


@dataclass(frozen=True)
class Execution:
    """A finished execution.

    notebook: normalised and stamped.
    record: what differs from time to time, and so is kept out of the notebook: chapter, executed
    (UTC date), seconds (of this execution: results found in the cache cost it next to nothing),
    seconds_from_nothing (with nothing in the cache, one result after the other), what `machine`
    tells, parameters, and stamp (the digest of what went in)."""

    notebook: NotebookNode
    record: dict[str, object]


def run_id(chapter: Chapter, values: Mapping[str, Value]) -> str:
    """A short name for this chapter with these parameters and today's code: the same run has the
    same name.
    """
    modules = used_modules(chapter.source, package=chapter.project.root / "entrack")
    return digest(chapter.name, plain(values), cells_digest(chapter.source), modules)[
        :RUN_ID_LENGTH
    ]


def run(
    chapter: Chapter,
    values: Mapping[str, Value],
    *,
    out: Path | None = None,
    claims: Path | None = None,
    progress: bool = True,
) -> Path:
    """Execute `chapter` with `values` and write the notebook; returns its path.

    values: {parameter: value}, checked, defaults left out. out: the notebook to write (a name with
    the ending .ipynb), or the folder for it, by default `runs/`. claims: also write `run_record`
    there, after the notebook. Each file is written whole or not at all. Raises ChapterError as
    `execute` does.
    """
    target = out if out is not None else chapter.project.runs
    if target.suffix != ".ipynb":
        target = target / f"{chapter.name}-{run_id(chapter, values)}.ipynb"
    execution = execute(chapter, values, progress=progress)
    write_atomic(target, notebook_bytes(execution.notebook))
    if claims is not None:
        text = json.dumps(run_record(execution), indent=1, sort_keys=True, ensure_ascii=False)
        write_atomic(claims, (text + "\n").encode())
    return target


def run_record(execution: Execution) -> dict[str, object]:
    """What a run found, and what made it, as plain data.

    format: of this record; chapter; parameters, as executed; stamp: the notebook's, with the
    digests of code, modules and models and the package versions; execution: the `record` of
    Execution; claims: each as `stats.claims.Claim.record` gave it; numbers: {name: value} of what
    the chapter glues. Raises ChapterError for a claim that is judged twice.
    """
    stamp = get_stamp(execution.notebook)
    found = judged_claims({stamp.chapter: execution.notebook})
    return {
        "format": RECORD_FORMAT,
        "chapter": stamp.chapter,
        "parameters": stamp.parameters,
        "stamp": asdict(stamp),
        "execution": execution.record,
        "claims": [claim.record for claim in found],
        "numbers": glued(execution.notebook),
    }


def execute(chapter: Chapter, values: Mapping[str, Value], *, progress: bool = True) -> Execution:
    """Execute `chapter` with `values`, in a fresh kernel whose working folder is `notebooks/`.

    values: {parameter: value}, checked, those equal to their defaults left out.
    progress: draw a bar, a step a cell, on the standard error stream.
    What the cells write to their standard error goes to `runs/<chapter>-<run id>.log` as it comes.
    Raises ChapterError when a cell fails; the notebook up to there is then `runs/<chapter>-<run
    id>.failed.ipynb`."""
    runs = chapter.project.runs
    runs.mkdir(exist_ok=True)
    name = f"{chapter.name}-{run_id(chapter, values)}"
    failed, log = runs / f"{name}.failed.ipynb", runs / f"{name}.log"
    failed.unlink(missing_ok=True)
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix=".running-", dir=runs) as folder,
        open(log, "w") as stderr,
    ):
        output = Path(folder) / "notebook.ipynb"
        try:
            with _kernel_environment(chapter):
                notebook = papermill.execute_notebook(
                    _with_probe(chapter.source),
                    output,
                    plain(values),
                    kernel_name="python3",
                    cwd=chapter.project.notebooks,
                    request_save_on_cell_execute=False,
                    stderr_file=stderr,
                    progress_bar={"desc": chapter.name, "mininterval": 0.5} if progress else False,
                    # The kernel is a child on this machine: its words on unencrypted TCP help
                    # nobody.
                    extra_arguments=["--log-level=CRITICAL"],
                )
        except PapermillExecutionError as error:
            os.replace(output, failed)
            raise ChapterError(_failure(chapter, values, error, failed)) from error
        except DeadKernelError as error:
            raise ChapterError(
                f"chapter {chapter.name} stopped{_with(chapter, values)}: its kernel died, which"
                " most often means that the memory was full. Run it again with smaller parameters."
            ) from error
        finally:
            stderr.flush()
            if log.stat().st_size == 0:
                log.unlink()
    return _finished(chapter, values, notebook, time.perf_counter() - started)


@contextlib.contextmanager
def _kernel_environment(chapter: Chapter) -> Iterator[None]:
    """The chapter imports this clone's package, and sets iterate in the same order in every
    execution.
    """
    root = str(chapter.project.root)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    changes = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def machine() -> dict[str, object]:
    """What this process computes on. Runs as the last cell of each execution, so it imports all it
    uses.

    device: cuda, mps or cpu, as torch would choose. device_name: of the chip; "" where unknown.
        torch_threads: 0 when
    torch was not imported. peak_memory_mb: largest resident memory of the process so far.
    seconds_stored: what the stored results that it used took to make; seconds_in_stored: what using
    them took now.
    """
    import pathlib
    import platform
    import resource
    import sys

    torch, results = sys.modules.get("torch"), sys.modules.get("entrack.store.results")
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    kind = "cpu"
    if torch and torch.cuda.is_available():
        kind, name = "cuda", torch.cuda.get_device_name()
    elif torch and torch.backends.mps.is_available():
        kind = "mps"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )
    return {
        "device": kind,
        "device_name": name,
        "torch_threads": torch.get_num_threads() if torch else 0,
        "peak_memory_mb": round(peak),
        "seconds_stored": sum(results.spent().values()) if results else 0.0,
        "seconds_in_stored": results.inside() if results else 0.0,
    }


def _with_probe(source: NotebookNode) -> NotebookNode:
    """The chapter and one more cell that tells about the machine; `_finished` takes it away
    again.
    """
    notebook = set_aside(source)
    code = f"{inspect.getsource(machine)}\nprint(__import__('json').dumps(machine()))"
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    return notebook


def _finished(
    chapter: Chapter, values: Mapping[str, Value], executed: NotebookNode, seconds: float
) -> Execution:
    probe = executed.cells.pop()
    told = "".join(output.text for output in probe.outputs if output.get("name") == "stdout")
    notebook = normalise(put_back(executed))
    every = {parameter.name: parameter.default for parameter in chapter.parameters} | dict(values)
    stamp = make_stamp(chapter.name, notebook, every, default=not values, root=chapter.project.root)
    found = json.loads(told.splitlines()[-1])
    afresh = seconds - found.pop("seconds_in_stored") + found.pop("seconds_stored")
    record = {
        "chapter": chapter.name,
        "executed": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "seconds_from_nothing": round(afresh, 1),
        **found,
        "parameters": stamp.parameters,
        "stamp": stamp.inputs,
    }
    return Execution(put_stamp(notebook, stamp), record)


def _failure(
    chapter: Chapter, values: Mapping[str, Value], error: PapermillExecutionError, failed: Path
) -> str:
    cells = nbformat.read(failed, as_version=4).cells
    injected = any(INJECTED in cell.metadata.get("tags", []) for cell in cells)
    lines = error.source.strip().splitlines()
    head = [*lines[:_HEAD_LINES], *(["..."] if len(lines) > _HEAD_LINES else [])]
    return "\n".join(
        [
            (
                f"chapter {chapter.name} failed in code cell"
                f" {error.exec_count - injected}{_with(chapter, values)}:"
            ),
            *(f"    {line}" for line in head),
            f"{error.ename}: {error.evalue}",
            f"The notebook up to there, with the traceback, is {_shown(failed, chapter)}.",
        ]
    )


def _with(chapter: Chapter, values: Mapping[str, Value]) -> str:
    every = {parameter.name: parameter.default for parameter in chapter.parameters} | dict(values)
    return (
        ", with " + ", ".join(f"{name}={value!r}" for name, value in every.items()) if every else ""
    )


def _shown(path: Path, chapter: Chapter) -> Path:
    return path.relative_to(chapter.project.root)

"""Execute several chapters at once, each in a process of its own with its share of the cores.

On a CPU two chapters of one thread each are done sooner than one after the other with two threads,
because small matrices gain little from a second thread. A result that two of them need is computed
by one while the other waits (`results.stored`)."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait

from entrack.book.chapters import FULL, Chapter, Edition
from entrack.book.execution import Execution, execute
from entrack.book.parameters import Value
from entrack.errors import ChapterError, EntrackError

MEMORY_OF_ONE = 6 * 2**30  # bytes, of the largest chapter of the default family


def usual_jobs() -> int:
    """How many chapters to execute at once: on a CPU of two cores or more 3 with enough free
    memory, 2 with less, else 1.

    One more than the two cores that the book is made for, because chapters that need the same
    result wait for each other. On CUDA one chapter fills the device.
    """
    import psutil

    # torch would know better, but takes a second to import.
    cuda = shutil.which("nvidia-smi") is not None
    if cuda or _cores() < 2:
        return 1
    return min(3, max(1, psutil.virtual_memory().available // MEMORY_OF_ONE))


def executions(
    chapters: Sequence[Chapter], *, jobs: int, edition: Edition = FULL
) -> Iterator[tuple[Chapter, Execution | EntrackError | None]]:
    """Execute `chapters` with the values of `edition`, at most `jobs` at once, in the order given.

    Yields (chapter, None) when one starts, and (chapter, its execution or the reason why there is
    none) when it ends. An interruption, or closing the iterator, interrupts those that run and
    waits until they have cleaned up."""
    # A fork server imports the package once for all children, where there is one.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    waiting, running = list(chapters), {}
    environment = {
        "OMP_NUM_THREADS": str(max(1, _cores() // min(jobs, len(waiting) or 1))),
        **os.environ,
    }
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                chapter = waiting.pop(0)
                receiving, sending = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work,
                    args=(chapter, sending, environment, len(chapters) == 1, edition.of(chapter)),
                    daemon=True,
                )
                process.start()
                sending.close()
                running[receiving] = chapter, process
                yield chapter, None
            for receiving in wait(list(running)):
                chapter, process = running[receiving]
                with receiving:
                    try:
                        result = receiving.recv()
                    except EOFError:
                        result = ChapterError(
                            f"chapter {chapter.name} stopped: its process died, which most often"
                            " means that the memory was full. Build again with --jobs 1."
                        )
                process.join()
                del running[receiving]
                yield chapter, result
    finally:
        for _, process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
        for _, process in running.values():
            process.join()


def _work(
    chapter: Chapter,
    sending: Connection,
    environment: dict[str, str],
    progress: bool,
    values: Mapping[str, Value],
) -> None:
    """The child's part. It takes its interruption from the parent alone, once: the terminal's would
    come on top.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A fork server's children have the environment of its start.
    os.environ.clear()
    os.environ.update(environment)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            result = execute(chapter, values, progress=progress)
        except EntrackError as error:
            result = error
        sending.send(result)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGINT)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

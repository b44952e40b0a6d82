"""Answers executed apart: one process that has imported everything, and a copy of it per answer.

The process runs an exercise's set-up once. Each answer then gets a fork of its own: it starts in
milliseconds, cannot change what the next one sees, and is ended at its time limit. Where the system
allows it the process has no network and no view of other processes. That is protection against
mistakes, and no cage: the code reads and writes files as you do."""

import ast
import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from entrack.course.checks import Outcome, recorded
from entrack.course.exercises import Exercise, sentences

CUTS = (["unshare", "-rnpf", "--kill-child"], ["unshare", "-rn"])
SETUP_SECONDS = 120
MORE_MEMORY = 4 * 2**30
_REPORT_BYTES = 2**20


@dataclass(frozen=True)
class Marked:
    """An answer after its checks.

    Attributes:
        outcomes: of the checks in order, visible ones first; those never reached are failed.
        problem: why no check was reached, in one sentence; "" where they were.
        seconds: what the answer and its checks took, the set-up left out.
    """

    outcomes: tuple[Outcome, ...]
    problem: str
    seconds: float

    @property
    def points(self) -> int:
        return sum(outcome.passed for outcome in self.outcomes)


@cache
def cut() -> list[str]:
    """The command that runs another without a network; empty where the system has none."""
    for command in CUTS if shutil.which("unshare") else ():
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


class Worker:
    """Marks answers one after the other; a context manager.

    Args:
        network: whether answers may use it; False cuts it where `cut` can.
    """

    def __init__(self, *, network: bool):
        self.command = [] if network else cut()
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def mark(self, exercise: Exercise, answer: str, *, seconds: float) -> Marked:
        """`answer` held to the checks of `exercise`, all of which may take `seconds`; whatever it
        does, this comes back.
        """
        job = {
            "setup": exercise.setup,
            "answer": answer,
            "function": exercise.function,
            "tests": exercise.checks + exercise.hidden,
            "seconds": seconds,
        }
        told = self._ask(job)
        try:
            seen = {o["sentence"]: Outcome(**o) for o in told["outcomes"]}
            problem, took = str(told["problem"]), float(told["seconds"])
        except (KeyError, TypeError, ValueError):
            # The fork that reports runs the answer's code, which can write anything there.
            seen, problem, took = {}, "what it reported cannot be read.", 0.0
        missing = problem or "the check was not reached."
        outcomes = (
            seen.get(s, Outcome(exercise.label, s, False, f"{exercise.label}: {missing}"))
            for s in sentences(exercise.checks + exercise.hidden)
        )
        return Marked(tuple(outcomes), problem, took)

    def _ask(self, job: dict) -> dict:
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            line = _line(self._process.stdout.fileno(), job["seconds"] + SETUP_SECONDS)
            return json.loads(line)
        except (OSError, ValueError):
            self.close()
            return _nothing("it ended the process that ran it.")

    def _start(self) -> None:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": "0",
            # A fork has no threads but its own, so a pool made before it would never answer.
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._process = subprocess.Popen(
            [*self.command, sys.executable, "-m", "entrack.course.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def close(self) -> None:
        """End the process; the next `mark` starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None


def _line(file: int, seconds: float) -> bytes:
    """One line from a pipe; a shorter text when it ended or `seconds` were over."""
    text, end = b"", time.monotonic() + seconds
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([file], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(file, 2**16) if ready else b""
        if not piece:
            break
        text += piece
    return text


def _nothing(problem: str, seconds: float = 0.0) -> dict:
    return {"outcomes": [], "problem": problem, "seconds": seconds}


def main() -> None:
    """The process itself: a job in each line that comes in, a result in each that goes out."""
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    ready: dict[str, dict | str] = {}
    for line in sys.stdin:
        job = json.loads(line)
        key = json.dumps(job["setup"])
        if key not in ready:
            ready[key] = _set_up(job["setup"])
        space = ready[key]
        told = _nothing(space) if isinstance(space, str) else _forked(job, space)
        os.write(out, json.dumps(told).encode() + b"\n")


def _set_up(cells: list[str]) -> dict | str:
    space = {"__name__": "__main__"}
    try:
        for source in cells:
            exec(compile(source, "<set-up>", "exec"), space)
    except Exception as error:
        return f"the set-up raised {type(error).__name__} ({error})."
    return space


def _forked(job: dict, space: dict) -> dict:
    started = time.perf_counter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _run(job, space, writing)
        finally:
            os._exit(0)
    os.close(writing)
    line = _line(reading, job["seconds"])
    seconds = time.perf_counter() - started
    os.close(reading)
    over = seconds >= job["seconds"]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if line.endswith(b"\n"):
        return json.loads(line) | {"seconds": seconds}
    problem = f"it took more than {job['seconds']:g} s." if over else "it ended its own process."
    return _nothing(problem, seconds)


def _run(job: dict, space: dict, writing: int) -> None:
    """In the fork: no terminal, no file of the worker but the pipe, a folder and limits of its
    own.
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for file in (0, 1, 2):
        os.dup2(null, file)
    os.closerange(3, writing)
    os.closerange(writing + 1, 256)
    limit = int(job["seconds"]) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    if (sizes := Path("/proc/self/statm")).exists():
        now = int(sizes.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MORE_MEMORY,) * 2)
    with tempfile.TemporaryDirectory(prefix="entrack-answer-") as folder:
        os.chdir(folder)
        told = _marked(job, space)
        text = json.dumps(told).encode()
        if len(text) > _REPORT_BYTES:
            text = json.dumps(_nothing("what its checks said is too long to keep.")).encode()
        os.write(writing, text + b"\n")


def _marked(job: dict, space: dict) -> dict:
    own = dict(space)
    try:
        tree = ast.parse(job["answer"])
        exec(compile(tree, "<answer>", "exec"), own)
        function = own[job["function"]]
    except SyntaxError as error:
        return _nothing(f"the answer is not Python ({error.msg}, line {error.lineno}).")
    except KeyError:
        return _nothing(f"the answer defines no function {job['function']}.")
    except BaseException as error:
        return _nothing(f"the answer raised {type(error).__name__} ({error}).")
    outcomes = []
    # The checks see the function alone, so that an answer cannot put its own `check` in place.
    tested = space | {job["function"]: function}
    with recorded() as found:
        for source in job["tests"]:
            with contextlib.suppress(BaseException):
                exec(compile(source, "<check>", "exec"), dict(tested))
        outcomes += [asdict(outcome) for outcome in found]
    return {"outcomes": outcomes, "problem": ""}


if __name__ == "__main__":
    main()

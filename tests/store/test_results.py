"""Results are found again whole, or made again; never half, never another's."""

import contextlib
import errno
import io
import json
import re
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from entrack.errors import ConfigError, DataError
from entrack.patching.accuracy import TaskScores
from entrack.patching.head_scores import HeadScores
from entrack.patching.residual_patching import ResidualPatching
from entrack.sites import Head
from entrack.stats.metrics import Estimate
from entrack.store import results
from entrack.store.results import Kept, Stored, load, save, spent, stored


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path))
    return tmp_path


def stored_as(compute, name="x", module="entrack.store.results") -> Stored:
    """`compute` as a stored function of that module of the package."""
    compute.__module__ = module
    return stored(name)(compute)


def kept(value) -> Kept:
    return Kept(value, 0.0, {})


def scores(values):
    return HeadScores(
        values=values, unit="relative change", baseline=np.zeros(values.shape[-1]), label="planted"
    )


def equal(a, b):
    """Deep equality, types and dtypes included; NaN equals NaN."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(
            equal(getattr(a, f), getattr(b, f)) for f in a.__dataclass_fields__
        )
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    return type(a) is type(b) and (a == b or a != a and b != b)


@pytest.mark.parametrize(
    "value",
    [
        scores(np.array([[[0.5, -0.25]], [[np.nan, np.nan]]], dtype=np.float32)),
        TaskScores(
            hits=np.array([[True, False]]),
            log_prob=np.array([[-0.1, -3.0]], dtype=np.float32),
            model="a/b",
            format="standard",
        ),
        {
            "nested": [Estimate(0.5, 0.4, 0.6, 10), (Head(3, 2), None, "text", True, 3, 0.1)],
            Head(1, 1): {"empty": ()},
        },
        [np.arange(3), np.zeros((0, 4)), np.array(7)],
        float("nan"),
        ["array", {"class": "not a class"}],
    ],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, value):
    save(tmp_path / "x.zip", Kept(value, 2.5, {"y-12": 0.25}))
    found = load(tmp_path / "x.zip")
    assert equal(found.result, value)
    assert (found.seconds, found.made_from) == (2.5, {"y-12": 0.25})


def test_equal_can_tell_results_apart():
    assert not equal(scores(np.zeros((1, 1, 2))), scores(np.ones((1, 1, 2))))
    assert not equal((1,), [1]) and not equal(np.zeros(2, dtype=np.float32), np.zeros(2))


def test_a_file_holds_arrays_and_json_and_no_pickle(tmp_path):
    save(tmp_path / "x.zip", kept(scores(np.zeros((2, 2, 2)))))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        names = ["array0.npy", "array1.npy", "cost.json", "result.json"]
        assert sorted(archive.namelist()) == names
        json.loads(archive.read("result.json"))


@pytest.mark.parametrize("value", [torch.zeros(2), {1, 2}, object(), [lambda: 1]])
def test_what_cannot_be_stored_is_refused_before_a_file_is_there(tmp_path, value):
    with pytest.raises(
        DataError,
        match=(
            r"a (Tensor|set|object|function) cannot be stored; allowed are dataclasses, arrays and"
            r" plain"
        ),
    ):
        save(tmp_path / "x.zip", kept(value))
    assert not list(tmp_path.iterdir())


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises((DataError, ValueError)):
        save(tmp_path / "x.zip", kept(np.array([object()])))
    assert not list(tmp_path.iterdir())


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


DAMAGED = {
    "empty": lambda path: path.write_bytes(b""),
    "no zip": lambda path: path.write_bytes(b"not a zip at all"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "no result": lambda path: write_zip(path, {"array0.npy": b""}),
    "no json": lambda path: write_zip(path, {"result.json": "{"}),
    "a missing array": lambda path: write_zip(path, {"result.json": '{"array": "array0"}'}),
    "another's class": lambda path: write_zip(
        path, {"result.json": '{"class": "os:system", "fields": {}}'}
    ),
    "no result class": lambda path: write_zip(
        path, {"result.json": '{"class": "entrack.store.results:stored", "fields": {}}'}
    ),
    "an unknown field": lambda path: write_zip(
        path, {"result.json": '{"class": "entrack.sites:Head", "fields": {"x": 1}}'}
    ),
    "a value it refuses": lambda path: write_zip(
        path,
        {"result.json": ('{"class": "entrack.sites:Head", "fields": {"layer": -1, "head": 0}}')},
    ),
    "a flipped byte": lambda path: path.write_bytes(flipped(path.read_bytes())),
}


def flipped(data: bytes) -> bytes:
    """One byte of the first member's packed content changed, which its checksum tells."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        place = archive.infolist()[0].header_offset + 30 + len("result.json") + 5
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_refused_and_made_again(cache, how):
    value, made = scores(np.arange(8.0).reshape(2, 2, 2)), []
    compute = stored_as(lambda n: made.append(n) or value)
    found = compute(1)
    (path,) = (cache / "results").iterdir()
    DAMAGED[how](path)
    with pytest.raises(
        DataError,
        match=(
            rf"the stored result {path.name} cannot be read .*; it must be a file written by"
            r" entrack"
        ),
    ):
        load(path)
    again = compute(1)
    assert made == [1, 1] and equal(again, found) and equal(load(path).result, value)


def test_a_second_call_computes_nothing():
    made = []
    compute = stored_as(lambda a, b: made.append(1) or scores(np.zeros((1, 1, 3))))
    first, second = compute("a", 1), compute("a", 1)
    assert len(made) == 1 and equal(first, second)


def test_a_call_is_the_same_however_its_arguments_are_given():
    made = []

    def compute(a, b=2, *, c=(3, 4)):
        made.append((a, b, c))
        return len(made)

    compute = stored_as(compute)
    same = [compute(1), compute(a=1), compute(1, 2), compute(b=2, a=1, c=[3, 4])]
    assert same == [1, 1, 1, 1] and made == [(1, 2, (3, 4))]
    assert compute(2, 1) == 2 and compute(1, 2, c=(4, 3)) == 3


@pytest.mark.parametrize(
    "other",
    [{"name": "y"}, {"call": ("a", 2)}, {"call": ("a", 1.0)}, {"module": "entrack.task.boxes"}],
)
def test_another_name_argument_or_module_is_another_result(other):
    call = other.pop("call", ("a", 1))
    assert stored_as(lambda a, b: 1)("a", 1) == 1
    assert stored_as(lambda a, b: 2, **other)(*call) == 2
    assert stored_as(lambda a, b: 3)("a", 1) == 1


def test_other_code_is_another_result(monkeypatch):
    assert stored_as(lambda: 1)() == 1
    monkeypatch.setattr(results, "code_digest", lambda *modules: "changed")
    assert stored_as(lambda: 2)() == 2


def test_an_argument_that_cannot_be_part_of_a_key_is_named(cache):
    compute = stored_as(lambda heads, generator: 1)
    with pytest.raises(
        ConfigError,
        match=r"argument 'generator' of the stored result 'x' cannot be part of its key: a"
        r" Generator has no digest; plain values, dataclasses, arrays and tensors do",
    ):
        compute([1], np.random.default_rng(0))
    assert not (cache / "results").exists()


def test_a_stored_function_keeps_its_name_and_documentation():
    def compute():
        """What it computes."""

    found = stored("x")(compute)
    assert (found.__name__, found.__doc__) == ("compute", "What it computes.")


def test_a_result_that_failed_is_not_stored(cache):
    answers = iter([KeyboardInterrupt(), 5])

    def compute():
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    compute = stored_as(compute)
    with pytest.raises(KeyboardInterrupt):
        compute()
    assert compute() == 5


class Clock:
    """Seconds that pass only when told."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(results, "time", clock)
    monkeypatch.setattr(results, "_spent", {})
    return clock


def nested(clock):
    """A result of 8 seconds of its own, made from two others, and of these one of 4 from one of 2.

    Returns it, and the three in the order of their making.
    """

    def take(seconds, value):
        clock.now += seconds
        return value

    low = stored_as(lambda: take(2.0, 1), "low")
    middle = stored_as(lambda: take(4.0, 1) + low(), "middle")
    top = stored_as(lambda: take(5.0, 1) + low() + middle() + middle() + take(3.0, 0), "top")
    return top, (low, middle, top)


def by_name(cost):
    return {stem.partition("-")[0]: seconds for stem, seconds in cost.items()}


def test_a_result_holds_its_own_seconds_and_those_of_all_it_was_made_from(clock):
    top, parts = nested(clock)
    assert top() == 6 and clock.now == 14.0
    files = {function.name: load(function.path()) for function in parts}
    assert {name: file.seconds for name, file in files.items()} == {"low": 2, "middle": 4, "top": 8}
    made_from = {name: by_name(file.made_from) for name, file in files.items()}
    assert made_from == {"low": {}, "middle": {"low": 2}, "top": {"low": 2, "middle": 4}}
    assert spent() == {parts[i].path().stem: s for i, s in ((0, 2.0), (1, 4.0), (2, 8.0))}


def test_a_loaded_result_tells_what_it_costs_from_nothing(clock, monkeypatch):
    top, parts = nested(clock)
    top()
    monkeypatch.setattr(results, "_spent", {})  # as in another process
    assert spent() == {}
    top()
    assert clock.now == 14.0 and by_name(spent()) == {"low": 2, "middle": 4, "top": 8}


def test_what_was_stored_before_is_part_of_the_cost_and_not_of_the_time(clock):
    top, (low, middle, _) = nested(clock)
    middle()
    clock.now = 100.0
    top()
    assert clock.now == 108.0 and by_name(spent()) == {"low": 2, "middle": 4, "top": 8}
    assert load(top.path()).seconds == 8.0


def test_a_failed_computation_counts_for_nothing(clock):
    def fail():
        clock.now += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_as(fail)()
    after = stored_as(lambda: 1, "after")
    after()
    assert spent() == {after.path().stem: 0.0}


def test_a_full_disk_is_told_and_leaves_nothing(cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("entrack.store.digests.os.replace", full)
    with pytest.raises(
        DataError, match="no space left in .*; x-.* needs .* MB and .* are free. Free some space"
    ):
        stored_as(lambda: scores(np.zeros((1, 1, 1))))()
    assert not list((cache / "results").iterdir())


def test_two_processes_that_need_one_result_compute_it_once(cache, tmp_path):
    """One computes, slowly; the other says that it waits, and reads what the first has made."""
    script = tmp_path / "ask.py"
    script.write_text(
        "import sys, time\n"
        "from entrack.store.results import stored\n"
        "def compute():\n"
        f"    open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        f"    open({str(tmp_path / 'begun')!r}, 'w').close()\n"
        "    time.sleep(2)\n"
        "    return 7\n"
        "compute.__module__ = 'entrack.store.results'\n"
        "print(stored('x')(compute)())\n"
    )
    first = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert first.poll() is None
        time.sleep(0.05)
    # The second one's imports take longer than the wait lasts, so it is asked from here.
    made = []
    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert stored_as(lambda: made.append(1))() == 7
    assert (
        first.communicate(timeout=60)[0].strip() == "7"
        and (tmp_path / "calls").read_text() == "x"
        and made == []
    )
    assert re.fullmatch("another process computes x-[0-9a-f]+; waiting for it\n", told.getvalue())
    assert [path.suffix for path in (cache / "results").iterdir()] == [".zip"]


def test_a_cache_that_cannot_be_written_to_is_told(cache, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(results.FileLock, "acquire", refuse)
    with pytest.raises(
        DataError,
        match=(
            r"x-[0-9a-f]+.zip cannot be written \(Permission denied\); a writable folder is needed."
        ),
    ):
        stored_as(lambda: 1)()


def test_scores_of_heads_are_read_by_layer_and_head():
    values = np.full((2, 3, 4), np.nan)
    values[0] = np.array([0.1, -0.4, -0.2])[:, None] + np.array([0.0, 0.02, -0.02, 0.0])
    found = scores(values)
    assert found.ranked() == [
        Head(0, 1),
        Head(0, 2),
        Head(0, 0),
    ], "most negative first; heads without a path are left out"
    assert found.grid().shape == (2, 3) and np.isnan(found.grid()[1]).all()
    estimate = found.estimate(Head(0, 1))
    assert (
        estimate.value == pytest.approx(-0.4)
        and estimate.low < -0.4 < estimate.high
        and estimate.n == 4
    )


def test_equal_scores_rank_by_layer_then_head():
    assert scores(np.zeros((2, 2, 1))).ranked() == [Head(0, 0), Head(0, 1), Head(1, 0), Head(1, 1)]


def test_every_stored_result_of_the_package_is_one_that_can_be_read(tmp_path):
    """`load` refuses classes that are not the package's own; these are."""
    nothing = np.zeros(2, dtype=bool)
    value = ResidualPatching(
        "object",
        "last",
        (0, 1),
        np.zeros((2, 2), bool),
        np.zeros((2, 2), bool),
        nothing,
        nothing,
        nothing,
        "m",
    )
    save(tmp_path / "x.zip", kept(value))
    assert load(tmp_path / "x.zip").result.layers == (0, 1)

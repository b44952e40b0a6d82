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

from entrack.errors import DataError
from entrack.model.sites import Head
from entrack.patching.accuracy import TaskScores
from entrack.patching.path_patching import HeadScores
from entrack.patching.residual_patching import ResidualPatching
from entrack.stats.metrics import Estimate
from entrack.store import results
from entrack.store.results import load, save, stored


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path))
    return tmp_path


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
    save(tmp_path / "x.zip", value)
    assert equal(load(tmp_path / "x.zip"), value)


def test_equal_can_tell_results_apart():
    assert not equal(scores(np.zeros((1, 1, 2))), scores(np.ones((1, 1, 2))))
    assert not equal((1,), [1]) and not equal(np.zeros(2, dtype=np.float32), np.zeros(2))


def test_the_same_result_is_the_same_number_of_bytes_and_no_pickle(tmp_path):
    save(tmp_path / "x.zip", scores(np.zeros((2, 2, 2))))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(archive.namelist()) == ["array0.npy", "array1.npy", "result.json"]
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
        save(tmp_path / "x.zip", value)
    assert not list(tmp_path.iterdir())


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises((DataError, ValueError)):
        save(tmp_path / "x.zip", np.array([object()]))
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
        path, {"result.json": '{"class": "entrack.model.sites:Head", "fields": {"x": 1}}'}
    ),
    "a value it refuses": lambda path: write_zip(
        path,
        {
            "result.json": (
                '{"class": "entrack.model.sites:Head", "fields": {"layer": -1, "head": 0}}'
            )
        },
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
    value = scores(np.arange(8.0).reshape(2, 2, 2))
    found = stored(lambda: value, name="x", key=[1], modules=["entrack.store.results"])
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
    made = []
    again = stored(
        lambda: made.append(1) or value, name="x", key=[1], modules=["entrack.store.results"]
    )
    assert made and equal(again, found) and equal(load(path), value)


def test_a_second_call_computes_nothing():
    made = []

    def compute():
        made.append(1)
        return scores(np.zeros((1, 1, 3)))

    first = stored(compute, name="x", key=["a", 1], modules=["entrack.store.results"])
    second = stored(compute, name="x", key=["a", 1], modules=["entrack.store.results"])
    assert len(made) == 1 and equal(first, second)


@pytest.mark.parametrize(
    "other",
    [{"name": "y"}, {"key": ["a", 2]}, {"key": ["a", 1.0]}, {"modules": ["entrack.task.boxes"]}],
)
def test_another_name_key_or_module_is_another_result(other):
    call = {"name": "x", "key": ["a", 1], "modules": ["entrack.store.results"]}
    stored(lambda: 1, **call)
    assert stored(lambda: 2, **{**call, **other}) == 2
    assert stored(lambda: 3, **call) == 1


def test_other_code_is_another_result(monkeypatch):
    stored(lambda: 1, name="x", key=[], modules=["entrack.store.results"])
    monkeypatch.setattr(results, "code_digest", lambda *modules: "changed")
    assert stored(lambda: 2, name="x", key=[], modules=["entrack.store.results"]) == 2


def test_a_result_that_failed_is_not_stored(cache):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(fail, name="x", key=[], modules=["entrack.store.results"])
    assert stored(lambda: 5, name="x", key=[], modules=["entrack.store.results"]) == 5


def test_a_full_disk_is_told_and_leaves_nothing(cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("entrack.store.digests.os.replace", full)
    with pytest.raises(
        DataError, match="no space left in .*; x-.* needs .* MB and .* are free. Free some space"
    ):
        stored(
            lambda: scores(np.zeros((1, 1, 1))), name="x", key=[], modules=["entrack.store.results"]
        )
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
        "print(stored(compute, name='x', key=[], modules=['entrack.store.results']))\n"
    )
    first = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert first.poll() is None
        time.sleep(0.05)
    # The second one's imports take longer than the wait lasts, so it is asked from here.
    made = []
    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert (
            stored(lambda: made.append(1), name="x", key=[], modules=["entrack.store.results"]) == 7
        )
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
        stored(lambda: 1, name="x", key=[], modules=["entrack.store.results"])


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
    save(tmp_path / "x.zip", value)
    assert load(tmp_path / "x.zip").layers == (0, 1)

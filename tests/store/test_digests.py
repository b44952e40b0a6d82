"""Digests tell apart what differs and nothing else; a file is whole or absent."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from entrack.errors import ConfigError, DataError
from entrack.store.digests import cache_dir, code_digest, digest, module_digests, write_atomic


@dataclass(frozen=True)
class Setting:
    heads: tuple[int, ...]
    rate: float = 0.1


@dataclass(frozen=True)
class Other:
    heads: tuple[int, ...]
    rate: float = 0.1


DIFFERENT = [
    None, True, 1, 1.0, "1", b"1", "", (), ((),), (1, 2), (2, 1), ("ab", "c"), ("a", "bc"), {"a": 1}, {1: "a"},
    {1},
    Setting((1,)), Setting((1,), 0.2), Other((1,)), np.array([1]), np.array([1], dtype="int32"),
    np.array([[1]]),
    torch.tensor([1]), torch.tensor(1), torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.bfloat16),
    torch.float32,
]  # fmt: skip


def test_no_two_different_values_share_a_digest():
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)
    assert digest(1, 2) != digest((1, 2)) and digest("a", "b") != digest("ab")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, (2, 3)], (1, [2, 3])),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (np.float64(0.25), 0.25),
        (np.arange(6).reshape(2, 3).T, np.ascontiguousarray(np.arange(6).reshape(2, 3).T)),
        (np.array([1], dtype=">i8"), np.array([1], dtype="<i8")),
        (torch.arange(6).reshape(2, 3).T, torch.arange(6).reshape(2, 3).T.contiguous()),
    ],
)
def test_equal_values_have_equal_digests(one, two):
    assert digest(one) == digest(two)


def test_a_digest_is_the_same_in_every_process_and_on_every_machine():
    assert (
        digest("boxes", 7, [0.5, None], {"seed": 0}, np.arange(2))
        == "80f05d730b3333e9857235773a4f1ead"
    )


@pytest.mark.parametrize(
    "value", [Path("a"), object(), np.array([object()]), torch.nn.Linear(1, 1)]
)
def test_what_has_no_travelling_value_is_refused(value):
    with pytest.raises(ConfigError, match="has no digest"):
        digest(value)


def test_a_written_file_is_whole_and_alone(tmp_path):
    path = tmp_path / "deep" / "result.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["result.bin"]


def test_a_full_disk_leaves_the_old_file_and_says_what_is_needed(tmp_path, monkeypatch):
    path = tmp_path / "result.bin"
    write_atomic(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError) as caught:
        write_atomic(path, bytes(3_000_000))
    assert f"no space left in {tmp_path}; result.bin needs 3.0 MB and " in str(caught.value)
    assert "set ENTRACK_CACHE to another folder, and run the same command again" in str(
        caught.value
    )
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["result.bin"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"file/result.bin cannot be written \(.*\); a writable folder is needed"
    ):
        write_atomic(tmp_path / "file" / "result.bin", b"")


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "result.bin", b"half")
    assert os.listdir(tmp_path) == []


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    assert cache_dir() == tmp_path / "cache" and cache_dir().is_dir()
    monkeypatch.delenv("ENTRACK_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "entrack"


def test_a_cache_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        DataError, match="cache folder .*file/cache cannot be created .* Set ENTRACK_CACHE to one"
    ):
        cache_dir()


@pytest.fixture
def package(tmp_path):
    """a imports b inside a function, and the subpackage's c relatively; d stands alone."""
    folder = tmp_path / "entrack"
    files = {
        "__init__.py": "__version__ = '1'\n",
        "a.py": (
            "from entrack.sub import c\n\n\ndef f():\n    from entrack.b import g\n    return g() +"
            " c.x\n"
        ),
        "b.py": '"""Old words."""\n\n\ndef g():\n    """Says."""\n    return 1  # one\n',
        "d.py": "y = 1\n",
        "d.json": "{}",
        "sub/__init__.py": "",
        "sub/c.py": "from . import e\n\nx = e.z\n",
        "sub/e.py": "import entrack\n\nz = 2\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_code_counts_with_everything_it_imports(package):
    assert list(module_digests("entrack.a", package=package)) == [
        "entrack.a", "entrack.b", "entrack.sub", "entrack.sub.c", "entrack.sub.e",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("b.py", '"""New words."""\ndef g():\n    "Other."\n    return (1)\n'),
        ("d.py", "y = 3\n"),
        ("__init__.py", "__version__ = '2'\n"),
    ],
)
def test_words_layout_version_and_other_modules_do_not_count(package, file, text):
    before = code_digest("entrack.a", package=package)
    (package / file).write_text(text)
    assert code_digest("entrack.a", package=package) == before


@pytest.mark.parametrize("file", ["a.py", "b.py", "sub/__init__.py", "sub/c.py", "sub/e.py"])
def test_any_change_of_code_counts(package, file):
    before = code_digest("entrack.a", package=package)
    with open(package / file, "a") as stream:
        stream.write("\nmore = True\n")
    assert code_digest("entrack.a", package=package) != before


def test_constants_of_equal_value_and_other_type_count(package):
    digests = set()
    for number in ("1", "1.0", "True", "'1'", "-1", "None"):
        (package / "d.py").write_text(f"y = {number}\n")
        digests.add(code_digest("entrack.d", package=package))
    assert len(digests) == 6


def test_a_data_file_of_the_same_name_is_part_of_a_module(package):
    before = code_digest("entrack.d", package=package)
    (package / "d.json").write_text('{"a": 1}')
    assert code_digest("entrack.d", package=package) != before


def test_a_module_that_is_not_there_is_refused_by_name(package):
    with pytest.raises(ConfigError, match="module 'entrack.nope' is not in entrack"):
        code_digest("entrack.nope", package=package)


def test_the_running_package_is_the_default():
    assert "entrack.errors" in module_digests("entrack.store.digests")

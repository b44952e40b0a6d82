"""What groups carry beside base: planted answers, whose differences can be counted by hand."""

import numpy as np
import pytest

from entrack.circuit.contents import Contents
from entrack.heads.carried import accuracy, change, content, counted, with_accuracy
from entrack.patching.patches import Patch, Patched
from entrack.stats.metrics import difference

A = "value_fetcher"
N = 20


def version(*, right, followed, hit_alone=0):
    """Of 20 pairs in four scenes: the first `right` are answered right with nothing patched, the
    last `hit_alone` name the source's object by themselves, and the first `followed` do so with all
    value fetchers patched, with the last `hit_alone` too.
    """
    tokens = {"unchanged": np.full(N, 4), "object": np.full(N, 1), "position": np.full(N, 2)}
    place = np.arange(N)
    unpatched = np.where(place < right, 4, np.where(place >= N - hit_alone, 1, 9))
    patched = np.where((place < followed) | (place >= N - hit_alone), 1, unpatched)
    return Patched({f"{A} all": Patch("last")}, tokens, patched[None], unpatched, place // 5, "m")


def contents(**versions):
    return Contents(masks={}, tested=versions, base="base")


def test_a_change_is_paired_and_each_version_keeps_its_own_floor():
    tested = {
        "base": version(right=4, followed=5, hit_alone=2),
        "tuned": version(right=12, followed=14),
    }
    found = contents(**tested)
    # 5 of 20 above the floor in base, whose two others are hits unpatched too; 14 in the other.
    assert change(found, "tuned", A).value == pytest.approx((14 - 5) / N)
    raw = difference(*(tested[v].hits(f"{A} all", "object") for v in ("tuned", "base")))
    assert raw.value == pytest.approx((14 - 7) / N)
    assert accuracy(found, "tuned") == pytest.approx(12 / N)
    assert change(found, "base", A).value == 0


def test_the_order_of_versions_is_that_of_their_accuracy():
    rising = {
        name: version(right=r, followed=f)
        for name, r, f in (("base", 2, 3), ("one", 5, 6), ("two", 8, 9), ("three", 11, 12))
    }
    assert with_accuracy(contents(**rising), A).value == pytest.approx(1)
    falling = {**rising, "three": version(right=1, followed=15)}
    assert with_accuracy(contents(**falling), A).value == pytest.approx(-0.2)
    assert with_accuracy(contents(base=rising["base"], one=rising["one"]), A) is None


def test_clear_changes_are_counted_by_their_interval():
    up, none = np.ones(N), np.zeros(N)
    mixed = np.array([1, 0] * (N // 2))
    changes = [difference(up, none), difference(none, up), difference(mixed, mixed[::-1])]
    assert counted(changes) == "1 rise, 1 fall, 1 unclear"


def test_structure_readers_are_asked_for_the_position():
    assert content(A) == "object" and content("structure_reader") == "position"

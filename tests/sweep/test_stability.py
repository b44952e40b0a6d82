"""Verdicts beside each other: by what differs, and in what way."""

import pytest
from judged import HARMS, HELPS, UNCLEAR, claim

from entrack.stats.rules import DOES_NOT, NOT_RUN, PARTLY, REPLICATES, UNDECIDED
from entrack.sweep.stability import (
    DEGREE,
    OPEN,
    OPPOSITE,
    SAME,
    Column,
    Reading,
    across,
    beside,
    columns,
    compared,
    edition_of,
    one_apart,
    tally,
)

ZERO, ONE, OTHER, FULL = (
    Column("a", 0),
    Column("a", 1),
    Column("b", 0),
    Column("a", 0, "published"),
)


def run(column, *claims):
    given = {"family": column.lineage, "seed": column.seed, "n": len(column.edition)}
    return {"chapter": "01_x", "parameters": given, "claims": [c.record() for c in claims]}


def collected():
    return {
        "runs": {
            "a/published/01_x-seed-0": run(FULL, claim("up", HELPS), claim("by", {"v": HELPS})),
            "a/01_x-seed-0": run(ZERO, claim("up", UNCLEAR), claim("by", {"v": HELPS, "w": HARMS})),
            "a/01_x-seed-1": run(ONE, claim("up", HELPS), claim("by", {"v": HARMS})),
            "b/01_x-seed-0": run(OTHER, claim("up", UNCLEAR), claim("by", None)),
        }
    }


def reading(verdict):
    return Reading("a", 0, {}, verdict, "x")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (REPLICATES, REPLICATES, SAME),
        (UNDECIDED, UNDECIDED, SAME),
        (REPLICATES, UNDECIDED, OPEN),
        (UNDECIDED, DOES_NOT, OPEN),
        (REPLICATES, PARTLY, DEGREE),
        (PARTLY, DOES_NOT, OPPOSITE),
        (DOES_NOT, REPLICATES, OPPOSITE),
        (DOES_NOT, NOT_RUN, None),
    ],
)
def test_two_verdicts_stand_to_each_other_in_one_of_four_ways(first, second, told):
    assert beside(reading(first), reading(second)) == told
    assert beside(reading(second), reading(first)) == told
    assert beside(reading(first), None) is None


def test_the_edition_is_in_the_name_of_a_run_and_makes_a_column():
    assert edition_of("a/published/01_x-seed-0") == "published" and edition_of("a/01-seed-0") == ""
    claims = across(collected())
    assert columns(claims) == [FULL, ZERO, ONE, OTHER]
    assert claims["up"].at(FULL).verdict == REPLICATES and claims["up"].at(Column("c", 0)) is None
    assert str(FULL) == "a, published" and str(ONE) == "a, prompts 1"


def test_pairs_differ_in_one_thing_alone():
    pairs = one_apart(
        [FULL, ZERO, ONE, OTHER],
        {"sizes": lambda c: c.edition, "prompts": lambda c: c.seed, "lineage": lambda c: c.lineage},
    )
    assert pairs == {"sizes": [(FULL, ZERO)], "prompts": [(ZERO, ONE)], "lineage": [(ZERO, OTHER)]}


def test_verdicts_are_compared_and_counted_over_pairs():
    claims = across(collected())
    assert [c.slug for c in compared(claims, FULL, ONE)[OPPOSITE]] == ["by"]
    assert tally(claims, [(FULL, ONE), (ZERO, OTHER)]) == {
        SAME: 2,
        OPPOSITE: 1,
        OPEN: 0,
        DEGREE: 0,
    }
    assert not tally(claims, [])


def test_a_claim_agrees_only_where_it_was_measured():
    claims = across(collected())
    assert len(claims["by"].measured) == 3 and not claims["by"].agreed

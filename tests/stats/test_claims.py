"""The rule by which claims are judged."""

import pytest

from entrack.stats.claims import clear_direction, direction, of_ours, overall, verdict
from entrack.stats.metrics import Difference, Estimate


def between(low, high):
    return Estimate((low + high) / 2, low, high, 100)


@pytest.mark.parametrize(
    "low, high, expected, found",
    [
        (0.01, 0.2, 1, "replicates"),
        (-0.01, 0.2, 1, "undecided"),
        (-0.2, -0.01, 1, "does not replicate"),
        (-0.2, -0.01, -1, "replicates"),
        (0.01, 0.2, -1, "does not replicate"),
        (-0.2, 0.01, -1, "undecided"),
        (0.0, 0.2, 1, "undecided"),
        (0.01, 0.04, 1, "replicates"),
        (-0.03, 0.04, 1, "does not replicate"),
        (-0.04, 0.03, -1, "does not replicate"),
        (-0.03, 0.06, 1, "undecided"),
        (-0.03, 0.05, 0, "replicates"),
        (0.01, 0.04, 0, "replicates"),
        (0.01, 0.06, 0, "undecided"),
        (0.06, 0.2, 0, "does not replicate"),
        (-0.2, -0.06, 0, "does not replicate"),
    ],
)
def test_verdict_follows_the_interval(low, high, expected, found):
    assert verdict(between(low, high), expected=expected) == found


def test_the_margin_of_no_difference_can_be_chosen():
    assert verdict(between(-0.08, 0.08), expected=0) == "undecided"
    assert verdict(between(-0.08, 0.08), expected=0, margin=0.1) == "replicates"
    assert verdict(between(-0.08, 0.08), expected=1, margin=0.1) == "does not replicate"


@pytest.mark.parametrize(
    "low, high, found",
    [
        (0.1, 0.2, "higher"),
        (-0.2, -0.1, "lower"),
        (-0.1, 0.1, "no clear difference"),
        (0, 0.1, "no clear difference"),
    ],
)
def test_direction(low, high, found):
    assert direction(between(low, high)) == found


def test_claims_about_several_versions_get_one_verdict():
    assert (
        overall(["replicates", "replicates"]) == "replicates"
        and overall(["replicates", "undecided"]) == "partly"
    )
    assert overall(["replicates", "does not replicate"]) == "partly"
    assert (
        overall(["does not replicate", "undecided"]) == "does not replicate"
        and overall(["undecided"]) == "undecided"
    )
    assert overall([]) == "not run"


def test_claims_of_ours_hold_or_do_not():
    assert [of_ours(v) for v in ("replicates", "partly", "does not replicate", "undecided")] == [
        "holds",
        "partly",
        "does not hold",
        "undecided",
    ]


@pytest.mark.parametrize("p_value, found", [(0.03, "higher"), (0.06, "no clear difference")])
def test_a_clear_direction_needs_the_sign_test_too(p_value, found):
    assert (
        clear_direction(Difference(0.15, 0.1, 0.2, 49, better=6, worse=0, p_value=p_value)) == found
    )

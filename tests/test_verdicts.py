"""The rule by which claims are judged."""

import pytest

from entrack.metrics import Estimate
from entrack.verdicts import direction, verdict


def between(low, high):
    return Estimate((low + high) / 2, low, high, 100)


@pytest.mark.parametrize("low, high, expected, found", [
    (0.01, 0.2, 1, "agrees"),
    (-0.01, 0.2, 1, "undecided"),
    (-0.2, -0.01, 1, "disagrees"),
    (-0.2, -0.01, -1, "agrees"),
    (0.01, 0.2, -1, "disagrees"),
    (-0.2, 0.01, -1, "undecided"),
    (0.0, 0.2, 1, "undecided"),
    (0.01, 0.04, 1, "agrees"),
    (-0.03, 0.04, 1, "disagrees"),
    (-0.04, 0.03, -1, "disagrees"),
    (-0.03, 0.06, 1, "undecided"),
    (-0.03, 0.05, 0, "agrees"),
    (0.01, 0.04, 0, "agrees"),
    (0.01, 0.06, 0, "undecided"),
    (0.06, 0.2, 0, "disagrees"),
    (-0.2, -0.06, 0, "disagrees"),
])
def test_verdict_follows_the_interval(low, high, expected, found):
    assert verdict(between(low, high), expected=expected) == found


def test_the_margin_of_no_difference_can_be_chosen():
    assert verdict(between(-0.08, 0.08), expected=0) == "undecided"
    assert verdict(between(-0.08, 0.08), expected=0, margin=0.1) == "agrees"
    assert verdict(between(-0.08, 0.08), expected=1, margin=0.1) == "disagrees"


@pytest.mark.parametrize("low, high, found", [(0.1, 0.2, "higher"), (-0.2, -0.1, "lower"), (-0.1, 0.1, "no clear difference"),
                                              (0, 0.1, "no clear difference")])
def test_direction(low, high, found):
    assert direction(between(low, high)) == found

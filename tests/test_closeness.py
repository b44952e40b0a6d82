"""The comparison that the other tests rest on: what it lets pass, and what it refuses."""

import copy

import numpy as np
import pytest
import torch
from closeness import (
    FLOOR,
    additions,
    assert_apart,
    assert_close,
    assert_printed,
    finite_differences,
    tolerance,
)
from tiny_models import fine_tuned, tiny_model

KINDS = [np.asarray, torch.as_tensor]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_value_off_by_a_few_tolerances_fails_and_one_within_passes(kind, dtype):
    expected = np.array([[1.0, -20.0, 3.0], [0.5, 7.0, 0.0]], dtype)
    allowed = tolerance(expected, expected, terms=100)
    for place in np.ndindex(expected.shape):
        for sign in (-1, 1):
            wrong, right = expected.copy(), expected.copy()
            wrong[place] += sign * 3 * allowed
            right[place] += sign * 0.9 * allowed
            assert_close(kind(right), kind(expected), terms=100)
            with pytest.raises(AssertionError, match=r"1 of 6 values differ by more than rounding"):
                assert_close(kind(wrong), kind(expected), terms=100)


def test_the_message_says_where_and_how_much():
    with pytest.raises(AssertionError, match=r"0.5 at \(1, 0\), allowed are 1.53e-05"):
        assert_close(np.float32([[1, 2], [3.5, 4]]), np.float32([[1, 2], [3, 4]]), terms=4)


def test_the_tolerance_grows_with_eps_size_and_the_root_of_the_terms():
    single, double = np.ones(3, np.float32), np.ones(3)
    base = tolerance(single, single, terms=1)
    assert base == 16 * 2.0**-23
    assert tolerance(double, double, terms=1) == 16 * 2.0**-52
    assert tolerance(single, double, terms=1) == base, "the coarser dtype decides"
    assert tolerance(torch.ones(3).bfloat16(), double, terms=1) == 16 * 2.0**-7
    assert tolerance(single, single, terms=100) == 10 * base
    assert tolerance(single, single * 5, terms=1) == 5 * base
    assert tolerance(single * 5, single, terms=1) == base, "a wrong result widens nothing"
    assert tolerance(single, single, terms=1, magnitude=np.float32([-7, 2])) == 7 * base
    assert tolerance(single, single * 9, terms=1, magnitude=7) == 9 * base
    assert tolerance(double, double, terms=1, magnitude=torch.ones(2)) == base


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_fail_on_either_side(kind, bad):
    good, spoiled = kind(np.array([1.0, 2.0])), kind(np.array([1.0, bad]))
    with pytest.raises(AssertionError, match="1 values of what was found are NaN or infinite"):
        assert_close(spoiled, good, terms=1)
    with pytest.raises(AssertionError, match="1 values of what was expected are NaN or infinite"):
        assert_close(good, spoiled, terms=1)
    with pytest.raises(AssertionError, match="NaN or infinite"):
        assert_close(spoiled, spoiled, terms=1)
    with pytest.raises(AssertionError, match="NaN or infinite"):
        assert_apart(spoiled, good, terms=1)


def test_shapes_are_not_broadcast_and_nothing_is_not_enough():
    with pytest.raises(AssertionError, match=r"shape \(3,\) is not \(1, 3\)"):
        assert_close(np.ones(3), np.ones((1, 3)), terms=1)
    with pytest.raises(AssertionError, match=r"shape \(3,\) is not \(\)"):
        assert_close(np.ones(3), 1.0, terms=1)
    with pytest.raises(AssertionError, match="nothing is compared"):
        assert_close(np.ones((0, 3)), np.ones((0, 3)), terms=1)
    with pytest.raises(AssertionError, match="nothing is compared"):
        assert_apart(torch.ones(0), torch.ones(0), terms=1)


def test_whole_numbers_and_sums_of_nothing_are_refused():
    with pytest.raises(AssertionError, match="whole numbers are compared with =="):
        assert_close([1, 2], [1, 2], terms=1)
    with pytest.raises(AssertionError, match="at least one term"):
        assert_close(1.0, 1.0, terms=0)


def test_an_effect_too_small_to_see_is_refused():
    """The effect is right to the last digit, and refused: doing nothing would pass as well."""
    plain = np.full(4, 10.0, np.float32)
    allowed = tolerance(plain, plain, terms=25)
    small, large = plain.copy(), plain.copy()
    small[2] += (FLOOR - 1) * allowed
    large[2] += (FLOOR + 1) * allowed
    assert_close(large, large, terms=25, unlike=plain)
    with pytest.raises(AssertionError, match="too small to be told from rounding"):
        assert_close(small, small, terms=25, unlike=plain)
    with pytest.raises(AssertionError, match="differ by more than rounding"):
        assert_close(plain, large, terms=25, unlike=plain)
    assert_apart(large, plain, terms=25)
    with pytest.raises(AssertionError, match="too small to be told from rounding"):
        assert_apart(small, plain, terms=25)


def test_a_number_as_printed():
    assert_printed(0.6649, 0.66, decimals=2)
    assert_printed(0.665, 0.67, decimals=2)
    assert_printed(0.665, 0.66, decimals=2)
    for wrong in (0.6549, 0.6651, float("nan")):
        with pytest.raises(AssertionError):
            assert_printed(wrong, 0.66, decimals=2)
    assert_printed(0.6699, 0.66, decimals=2, half_units=2)
    with pytest.raises(AssertionError, match="0.6701 is not 0.66 as printed with 2 decimals"):
        assert_printed(0.6701, 0.66, decimals=2, half_units=2)


def test_finite_differences_of_known_functions():
    at = torch.tensor([[0.3, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    for loss, gradient in (
        (lambda x: (x**3).sum(), 3 * at**2),
        (lambda x: x.exp().sum(), at.exp()),
        (lambda x: x.prod(), at.prod() / at),
    ):
        # A step's fourth power times the fifth derivative is what remains.
        torch.testing.assert_close(finite_differences(loss, at), gradient, rtol=1e-7, atol=0)


@pytest.mark.parametrize("make", [tiny_model, fine_tuned])
@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa"])
def test_rounding_of_a_whole_pass_stays_within_the_tolerance(make, kind, prompts):
    """What `FACTOR` was taken from, on this machine: float32 against float64."""
    model = make(kind)
    with torch.no_grad():
        found = model.hf(prompts.tokens).logits
        exact = copy.deepcopy(model.hf).double()(prompts.tokens).logits
    assert_close(found, exact, terms=additions(model, prompts.tokens.shape[1]))

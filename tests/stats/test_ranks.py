"""Whether one row of numbers rises with another, by ranks."""

from itertools import permutations

import pytest
from scipy import stats

from entrack.errors import ConfigError
from entrack.stats.ranks import orders, rising

FIVE = [0.2, 0.3, 0.5, 0.6, 0.9]


def test_only_the_perfect_order_of_five_is_beyond_one_in_a_hundred():
    """One of 120 orders is perfect; next come the four swaps of neighbours."""
    perfect = rising(FIVE, [1, 2, 3, 4, 5])
    swapped = rising(FIVE, [2, 1, 3, 4, 5])
    assert (perfect.value, perfect.p_value, perfect.n) == (1, pytest.approx(1 / 120), 5)
    assert (swapped.value, swapped.p_value) == (pytest.approx(0.9), pytest.approx(5 / 120))
    assert orders(5) == 120


def test_the_chance_is_that_of_all_orders_with_ties():
    second = [1, 1, 3, 2, 2]
    found = rising(FIVE, second)
    every = [stats.spearmanr(FIVE, order).statistic for order in permutations(second)]
    assert found.value == pytest.approx(stats.spearmanr(FIVE, second).statistic)
    assert found.p_value == pytest.approx(sum(v > found.value - 1e-9 for v in every) / 120)


def test_a_perfect_order_of_few_keeps_a_wide_interval():
    up, down, more = (rising(x, x[::s]) for x, s in ((FIVE, 1), (FIVE, -1), (range(30), 1)))
    assert 0 < up.low < 0.3 and up.high == 1
    assert (down.value, down.low) == (-1, -1) and down.high == pytest.approx(-up.low)
    assert down.p_value == 1 and more.low > 0.9


def test_nothing_is_said_of_three_numbers_or_of_a_row_without_a_difference():
    assert rising([1, 2, 3], [1, 2, 3]) is None
    assert rising(FIVE, [1] * 5) is None
    with pytest.raises(ConfigError, match="5 and 4 numbers.*same length"):
        rising(FIVE, [1, 2, 3, 4])
    with pytest.raises(ConfigError, match="NaN"):
        rising(FIVE, [1, 2, 3, 4, float("nan")])

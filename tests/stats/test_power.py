"""How many more examples an interval needs: by its width, and in data with a known truth."""

import numpy as np
import pytest

from entrack.errors import ConfigError
from entrack.stats.metrics import Estimate, mean
from entrack.stats.power import units_needed


def test_half_the_distance_takes_four_times_the_units():
    found = Estimate(0.1, 0.0, 0.2, 70)
    assert units_needed(found, n_units=10, to_exclude=0) == 10
    assert units_needed(found, n_units=10, to_exclude=0.05) == 40
    assert units_needed(found, n_units=10, to_exclude=0.3) == 3
    assert units_needed(found, n_units=10, to_exclude=-9) == 2, "two units, however clear it is"
    assert units_needed(found, n_units=10, to_exclude=0.1) is None


def test_with_so_many_units_the_interval_just_leaves_the_value_out():
    generator = np.random.default_rng(0)
    first = generator.normal(size=400)
    first += 0.1 - first.mean()
    needed = units_needed(mean(first[:]), n_units=400, to_exclude=0)
    assert 300 < needed < 500
    again = np.resize(first, needed)
    left = mean(again + 0.1 - again.mean())
    assert abs(left.low) < (left.high - left.low) / 20


def test_an_interval_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="two or more whose interval has bounds"):
        units_needed(Estimate(0.1, -np.inf, np.inf, 1), n_units=1, to_exclude=0)

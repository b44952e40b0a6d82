"""Two score maps of one stage, beside chance and beside a second search in the same model."""

from types import SimpleNamespace

import numpy as np
import pytest

from entrack.circuit.overlap import STRONGEST, likeness
from entrack.errors import SiteError
from entrack.patching.head_scores import HeadScores

GROUP = "value_fetcher"
LAYERS, HEADS, PAIRS = 6, 8, 20


def effects(generator):
    """True effects [layer head]: few strong heads, all in the upper half."""
    grid = generator.normal(0, 0.05, (LAYERS, HEADS))
    grid[3:] -= generator.exponential(1.0, (LAYERS - 3, HEADS)) ** 2
    return grid


def searched(grid, generator, noise=0.5, n=PAIRS):
    values = grid[..., None] + generator.normal(0, noise, (*grid.shape, n))
    return SimpleNamespace(scores={GROUP: HeadScores(values, "nats", np.zeros(n), "")})


def test_two_searches_of_one_map_agree_and_are_their_own_ceiling():
    generator = np.random.default_rng(0)
    grid = effects(generator)
    first, second, third = (searched(grid, generator, noise=0.1) for _ in range(3))
    found, ceiling = (likeness(first, other, group=GROUP) for other in (second, third))
    assert found.shared == STRONGEST and found.p_value < 0.01
    assert found.correlation.value > 0.98 and found.correlation.high <= 1
    assert found.beyond.low > 0 and found.by_chance < STRONGEST
    assert found.rest.value < found.correlation.value
    assert 0.98 < found.share_of(ceiling).value < 1.02
    assert found.share_of(found).half_width == 0


def test_other_heads_of_the_same_layers_are_no_more_than_chance():
    """Over many maps whose heads are shuffled within layers, p is below 5 % in about 5 %."""
    generator = np.random.default_rng(1)
    below, beyond = [], []
    for _ in range(80):
        grid = effects(generator)
        found = likeness(
            searched(grid, generator),
            searched(generator.permuted(grid, axis=1), generator),
            group=GROUP,
        )
        below.append(found.p_value < 0.05)
        beyond.append(found.beyond.value)
    assert np.mean(below) <= 0.15
    assert abs(np.mean(beyond)) < 0.08


def test_the_share_of_the_ceiling_covers_one_where_both_maps_are_the_same():
    generator, covered = np.random.default_rng(2), []
    for _ in range(60):
        grid = effects(generator)
        first, second, third = (searched(grid, generator, noise=1.0) for _ in range(3))
        share = likeness(first, second, group=GROUP).share_of(likeness(first, third, group=GROUP))
        covered.append(not share.excludes(1.0))
    assert np.mean(covered) >= 0.85


def test_heads_without_a_path_are_left_out_and_too_few_give_nothing():
    generator = np.random.default_rng(3)
    grid = effects(generator)
    first, second = (searched(grid, generator, noise=0.1) for _ in range(2))
    second.scores[GROUP].values[4:] = np.nan
    assert likeness(first, second, group=GROUP).correlation.n == PAIRS
    second.scores[GROUP].values[2:] = np.nan
    assert likeness(first, second, group=GROUP) is None


def test_maps_of_two_architectures_do_not_compare():
    generator = np.random.default_rng(4)
    other = searched(np.zeros((LAYERS, HEADS + 1)), generator)
    with pytest.raises(SiteError, match=r"score maps of \(6, 8\) and \(6, 9\) heads; only maps of"):
        likeness(searched(effects(generator), generator), other, group=GROUP)

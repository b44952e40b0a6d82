"""Intervals against known values, and against data whose truth was planted."""

import math

import numpy as np
import pytest

from entrack.errors import ConfigError
from entrack.stats.metrics import (
    Estimate,
    difference,
    exact,
    mean,
    minus,
    rank_correlation,
    rate,
    ratio,
    relative_change,
)


def planted_scenes(generator, n_scenes, *, shared):
    """Hits of seven prompts a scene, each true with probability 0.6; `shared` of the scenes give
    one answer to all seven.
    """
    single = generator.random((n_scenes, 7)) < 0.6
    common = np.repeat(generator.random((n_scenes, 1)) < 0.6, 7, axis=1)
    return np.where(generator.random((n_scenes, 1)) < shared, common, single)


def test_wilsons_interval_is_the_textbooks():
    """81 of 263: Newcombe 1998, table I, method 3 gives 0.2553 to 0.3662."""
    found = rate(np.arange(263) < 81)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert found.value == pytest.approx(81 / 263) and found.n == 263


def test_wilson_at_the_edges_stays_inside_and_has_width():
    """0 of 20: Newcombe 1998 gives 0 to 0.1611."""
    none, every = rate([False] * 20), rate([True] * 20)
    assert none.value == none.low == 0 and round(none.high, 4) == 0.1611
    assert every.value == every.high == 1 and round(every.low, 4) == 0.8389


def test_the_interval_of_a_mean_is_students():
    """1 to 5: mean 3, standard error sqrt(0.5), t of 4 degrees of freedom 2.7764 (any table)."""
    found = mean([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.value == 3
    assert (found.low, found.high) == pytest.approx(
        (3 - 2.776445 * math.sqrt(0.5), 3 + 2.776445 * math.sqrt(0.5))
    )


def coverage(n_scenes, *, shared, of, runs=600):
    """Share of simulated experiments whose interval holds the truth."""
    generator = np.random.default_rng(2)
    scenes = np.repeat(np.arange(n_scenes), 7)
    return np.mean(
        [of(planted_scenes(generator, n_scenes, shared=shared), scenes) for _ in range(runs)]
    )


@pytest.mark.parametrize("n_scenes", [7, 10, 16, 49])
@pytest.mark.parametrize("shared", [0.0, 0.3, 0.8])
def test_intervals_over_few_scenes_cover_the_truth(n_scenes, shared):
    def holds(hits, scenes):
        return not rate(hits.ravel(), clusters=scenes).excludes(0.6)

    # 600 runs at 95 % leave a standard error of 0.9 points.
    assert coverage(n_scenes, shared=shared, of=holds) > 0.92


@pytest.mark.parametrize("n_scenes", [7, 16])
def test_paired_differences_and_ratios_over_few_scenes_cover_the_truth(n_scenes):
    generator = np.random.default_rng(3)

    def second(hits):
        """Half of the hits of the first, chosen at random: a difference of -0.3, a ratio of 0.5."""
        return hits * (generator.random(hits.shape) < 0.5)

    def gap_holds(hits, scenes):
        found = difference(second(hits).ravel(), hits.ravel(), clusters=scenes)
        return not found.excludes(-0.3)

    def ratio_holds(hits, scenes):
        return not ratio(second(hits).ravel(), hits.ravel(), clusters=scenes).excludes(0.5)

    for holds in (gap_holds, ratio_holds):
        assert coverage(n_scenes, shared=0.3, of=holds) > 0.91


def test_single_prompts_of_shared_scenes_do_not_cover_the_truth():
    """Seven prompts that share a scene are not seven independent prompts."""

    def holds(hits, scenes):
        return not rate(hits.ravel()).excludes(0.6)

    assert coverage(70, shared=0.8, of=holds, runs=200) < 0.75


def test_clusters_of_one_are_no_clusters():
    values = np.random.default_rng(3).normal(size=50)
    assert mean(values, clusters=range(50)) == mean(values)


def test_names_and_order_of_clusters_do_not_matter():
    values = np.random.default_rng(4).normal(size=40)
    numbered, order = np.repeat(np.arange(8), 5), np.random.default_rng(5).permutation(40)
    named = mean(values[order], clusters=np.array(list("abcdefgh"))[numbered[order]])
    plain = mean(values, clusters=numbered)
    assert (named.low, named.high) == pytest.approx((plain.low, plain.high))


def test_clusters_of_different_size_weigh_by_their_size():
    values, clusters = np.array([1.0, 1.0, 1.0, 0.0]), [0, 0, 0, 1]
    found = mean(values, clusters=clusters)
    assert found.value == 0.75
    assert mean(values[::-1], clusters=clusters[::-1]) == found


def test_an_interval_is_the_same_every_time():
    values = np.random.default_rng(6).random(60)
    assert mean(values) == mean(values)


def test_paired_difference_has_the_sign_of_first_minus_second():
    first, second = np.array([1, 1, 1, 1, 0, 1, 1, 1] * 10), np.array([0, 1, 0, 0, 1, 0, 0, 1] * 10)
    found = difference(first, second)
    assert found.value == pytest.approx(0.5) and (found.better, found.worse) == (50, 10)
    assert found.low > 0 and found.excludes(0)
    back = difference(second, first)
    assert back.value == -found.value and (back.better, back.worse) == (10, 50)
    assert back.p_value == found.p_value


def test_p_value_is_mcnemars_exact_test():
    """9 against 1: two-sided binomial, 2 * (1 + 10) / 2**10."""
    first, second = np.array([1] * 9 + [0] + [1] * 20), np.array([0] * 9 + [1] + [1] * 20)
    assert difference(first, second).p_value == pytest.approx(22 / 1024)


def test_no_difference_at_all():
    found = difference(np.ones(60), np.ones(60))
    assert (found.value, found.low, found.high, found.p_value) == (0, -0.05, 0.05, 1)
    assert (found.better, found.worse) == (0, 0)


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(7)
    second = generator.random(300)
    first = second + 0.05 + 0.02 * generator.normal(size=300)
    paired = difference(first, second)
    assert paired.excludes(0)
    assert paired.half_width < 0.3 * (mean(first).half_width + mean(second).half_width)


def test_p_value_counts_scenes_where_there_are_clusters():
    """Ten scenes of seven prompts, all better: 2 / 2**10, not 2 / 2**70."""
    first, second = np.ones(70), np.zeros(70)
    found = difference(first, second, clusters=np.repeat(np.arange(10), 7))
    assert found.p_value == pytest.approx(2 / 1024)
    assert (found.better, found.worse) == (70, 0)


def test_differences_of_unequal_length_are_refused():
    with pytest.raises(
        ConfigError,
        match=(
            "a paired difference of 3 and 2 examples; both sides need the same prompts. Score both"
        ),
    ):
        difference(np.ones(3), np.ones(2))


def test_ratio_pairs_its_two_sides():
    """Numerator and denominator that rise and fall together have a ratio without uncertainty."""
    denominator = (np.random.default_rng(8).random(200) < 0.6).astype(float)
    found = ratio(denominator / 2, denominator)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_ratio_is_of_means_not_a_mean_of_ratios():
    assert ratio(np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 2.0])).value == pytest.approx(0.5)


def test_ratio_above_one_is_kept():
    assert ratio(np.ones(50), np.arange(50) < 40).value == pytest.approx(1.25)


def test_ratio_to_nothing_is_not_a_number():
    found = ratio(np.ones(10), np.zeros(10))
    assert all(map(math.isnan, (found.value, found.low, found.high))) and found.n == 10


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate([]),
        lambda: mean([]),
        lambda: ratio(np.array([]), np.array([])),
        lambda: difference(np.array([]), np.array([])),
    ],
)
def test_nothing_to_estimate_from(call):
    with pytest.raises(
        ConfigError,
        match="no examples to estimate from; at least one is needed. Ask for more prompts",
    ):
        call()


def test_relative_change_from_log_probabilities():
    found = relative_change(np.log([0.25, 0.5, 0.75, 1e-30]), np.log(0.5))
    np.testing.assert_allclose(found, [-0.5, 0, 0.5, -1])


def test_an_estimate_prints_with_its_interval():
    found = Estimate(0.661, 0.62, 0.7049, 700)
    assert f"{found:.2f}" == "0.66 [0.62, 0.70]" == f"{found}"
    assert f"{found:.0%}" == "66% [62%, 70%]"
    assert found.half_width == pytest.approx(0.04245)
    assert found.excludes(0.61) and found.excludes(0.71) and not found.excludes(0.62)


def test_hits_that_never_vary_still_have_an_interval():
    """The rule of three over what varies, within what a share or a difference of shares can be."""
    scenes = np.arange(140) // 7
    for value, low, high in ((0.0, 0.0, 3 / 20), (1.0, 1 - 3 / 20, 1.0)):
        found = mean(np.full(140, value), clusters=scenes, share=True)
        assert (found.value, found.low, found.high) == pytest.approx((value, low, high))
    alone = mean(np.zeros(140), share=True)
    assert (alone.low, alone.high) == pytest.approx((0.0, 3 / 140))
    same = np.arange(140) % 3 == 0
    found = difference(same, same, clusters=scenes)
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -3 / 20, 3 / 20))
    assert found.p_value == 1.0


def test_scenes_that_all_agree_leave_nothing_to_vary():
    """Three of seven right in every scene: the scenes do not differ, the rule of three holds."""
    hits = np.tile([1, 1, 1, 0, 0, 0, 0], 20)
    found = rate(hits, clusters=np.arange(140) // 7)
    assert (found.low, found.high) == pytest.approx((3 / 7 - 3 / 20, 3 / 7 + 3 / 20))


def test_what_is_no_hit_has_no_rule_for_hits():
    assert mean(np.full(5, 0.37)).low == pytest.approx(0.37)
    nothing = mean(np.zeros(5))
    assert (nothing.low, nothing.high) == (0, 0), "a head that changes no log probability at all"
    unchanged = difference(np.full(5, -1.3), np.full(5, -1.3))
    assert (unchanged.low, unchanged.high) == (0, 0)


def test_one_scene_says_nothing_about_others():
    found = rate([True, False, True], clusters=[4, 4, 4])
    assert (found.low, found.high) == (0, 1)


def test_exact_numbers_and_constants():
    assert exact(3).low == exact(3).high == 3
    shifted = minus(Estimate(0.5, 0.4, 0.6, 70), 0.1)
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx((0.4, 0.3, 0.5))


def test_rank_correlation_with_its_interval():
    """Ranks that agree but for one swap; the interval is Bonett and Wright's, by hand."""
    found = rank_correlation([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 60, 50])
    assert found.value == pytest.approx(1 - 6 * 2 / (6 * 35))
    z, error = math.atanh(found.value), 1.96 * math.sqrt((1 + found.value**2 / 2) / 3)
    assert (found.low, found.high) == pytest.approx((math.tanh(z - error), math.tanh(z + error)))
    with pytest.raises(ConfigError, match="a rank correlation of 3 and 3 numbers; both rows need"):
        rank_correlation([1, 2, 3], [1, 2, 3])


def test_ratio_over_clusters_is_wider_where_scenes_agree():
    scenes = np.arange(140) // 7
    right = np.repeat(np.arange(20) % 2, 7)
    alone, over_scenes = ratio(right, np.ones(140)), ratio(right, np.ones(140), clusters=scenes)
    assert alone.value == over_scenes.value == 0.5
    assert over_scenes.half_width > 2 * alone.half_width


def test_shares_end_at_0_and_1():
    """Attention of 0.1 in one scene and none in six: t reaches below 0, a share does not."""
    low, high = [0.1, *[0.0] * 6], [0.9, *[1.0] * 6]
    assert mean(low).low < 0 < mean(low, share=True).low + 1e-12
    assert mean(low, share=True).low == 0 and mean(low, share=True).high == mean(low).high
    assert mean(high, share=True).high == 1 < mean(high).high
    assert mean(np.full(5, 0.37), share=True).low == pytest.approx(0.37)


def test_a_ratio_below_0_has_its_ends_in_order():
    """The gap is negative where the donor is worse: half of it closes."""
    generator = np.random.default_rng(9)
    gap = -(generator.random(140) < 0.6).astype(float)
    half = gap * (generator.random(140) < 0.5)
    scenes = np.arange(140) // 7
    found, mirrored = ratio(half, gap, clusters=scenes), ratio(-half, -gap, clusters=scenes)
    assert found.low < found.value < found.high
    assert (found.low, found.high) == pytest.approx((mirrored.low, mirrored.high))


def test_a_ratio_of_hits_that_agree_everywhere_has_an_interval():
    """20 scenes, 60 % right: up to 3 of 20 may have differed unseen, of 0.6."""
    right = np.tile([1, 1, 1, 0, 0], 28)
    scenes = np.arange(140) // 7
    for sign in (1, -1):
        found = ratio(sign * right, sign * right, clusters=scenes)
        spread = 3 / 20 / right.mean()
        assert (found.value, found.low, found.high) == pytest.approx((1, 1 - spread, 1 + spread))
    logs = np.linspace(1, 2, 140)
    assert ratio(logs, logs).half_width == 0


def test_agreement_everywhere_covers_a_ratio_that_is_almost_1():
    """One prompt in a hundred differs in truth: most small samples show none that does."""
    generator, held = np.random.default_rng(10), 0
    for _ in range(300):
        right = generator.random(70) < 0.6
        kept = right & (generator.random(70) < 0.99)
        found = ratio(kept, right, clusters=np.arange(70) // 7)
        held += not found.excludes(0.99)
    assert held / 300 > 0.95


def test_a_ratio_of_scenes_that_agree_up_to_rounding_has_an_interval():
    """Three of seven kept in every scene; 3/7 times 7 is not 3 in every sum of floats."""
    for size in (3, 7, 10, 11):
        for kept in range(1, size):
            numerator = np.tile(np.arange(size) < kept, 13).astype(float)
            found = ratio(numerator, np.ones(13 * size), clusters=np.arange(13 * size) // size)
            assert found.half_width == pytest.approx(3 / 13), (size, kept)


@pytest.mark.parametrize("n_scenes", [7, 20, 49])
@pytest.mark.parametrize("shared", [0.0, 1.0])
@pytest.mark.parametrize("limits", [0.5, 1.05, 2.0])
def test_the_rule_of_three_counts_scenes(n_scenes, shared, limits):
    """Rare hits, seven prompts a scene, with truths on both sides of the rule's limit: how often is
    nothing seen, and the truth outside the interval? With the scenes as units seldom, whether
    prompts share their scene's fate or not; with the prompts as units mostly, where they do.
    """
    generator = np.random.default_rng(11)
    scenes = np.arange(7 * n_scenes) // 7

    def missed(truth, clusters, runs=300):
        found = 0
        for _ in range(runs):
            single = generator.random((n_scenes, 7)) < truth
            common = np.repeat(generator.random((n_scenes, 1)) < truth, 7, axis=1)
            hits = np.where(generator.random((n_scenes, 1)) < shared, common, single).ravel()
            if not hits.any():
                found += mean(hits, clusters=clusters, share=True).excludes(truth)
        return found / runs

    # 5 % of 300 runs have a standard error of 1.3 points.
    assert missed(min(1.0, limits * 3 / n_scenes), scenes) < 0.09
    if shared and limits == 1.05:
        assert missed(limits * 3 / len(scenes), None) > 0.5

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.statistics import (
    Difference,
    compare_amounts,
    compare_counts,
    compare_images,
    compare_proportions,
    compare_values,
)

Judged = NDArray[np.bool_]
JUDGED = st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)
FIGURES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def of_counts(first_only: int, second_only: int, both: int, neither: int) -> tuple[Judged, Judged]:
    """Judgements of one seed from the four counts of a paired table, (1, images) each."""
    first = [True] * first_only + [False] * second_only + [True] * both + [False] * neither
    second = [False] * first_only + [True] * second_only + [True] * both + [False] * neither
    return np.array([first]), np.array([second])


# -- image by image ---------------------------------------------------------------------------------------------------


def test_one_seed_has_the_interval_of_bonett_and_price() -> None:
    first, second = of_counts(9, 4, 20, 7)
    found = compare_images(first, second)
    p12, p21 = 10 / 42, 5 / 42
    half = stats.norm.ppf(0.975) * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / 42)
    assert found.mean == pytest.approx(5 / 40)
    assert (found.low, found.high) == pytest.approx((5 / 40 - half, 5 / 40 + half))
    assert (found.seeds, found.images) == (1, 40)


def test_several_seeds_add_their_own_spread_to_that_of_the_images() -> None:
    first = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    second = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]], bool)
    found = compare_images(first, second)
    by_seed = [2 / 5, 1 / 5, 3 / 5]
    over_seeds = stats.t.ppf(0.975, 2) * stats.sem(by_seed)
    by_image = np.array([2, 2, 2, 1, -1]) / 3
    padded = [*by_image, 1, -1]
    over_images = stats.norm.ppf(0.975) * math.sqrt(np.var(padded) / 7)
    half = math.sqrt(over_seeds**2 + over_images**2)
    assert found.mean == pytest.approx(2 / 5)
    assert (found.low, found.high) == pytest.approx((2 / 5 - half, min(1.0, 2 / 5 + half)))
    assert (found.seeds, found.images) == (3, 5)


@pytest.mark.parametrize("images", [1, 30, 1000])
@pytest.mark.parametrize("seeds", [1, 4])
def test_equal_judgements_differ_by_nothing_and_not_beyond_noise(seeds: int, images: int) -> None:
    judged = np.random.default_rng(0).random((seeds, images)) < 0.7
    found = compare_images(judged, judged)
    assert found.mean == 0
    assert found.low < 0 < found.high
    assert not found.beyond_noise


@given(JUDGED)
def test_swapping_the_sides_turns_the_difference(sides: tuple[Judged, Judged]) -> None:
    found, turned = compare_images(*sides), compare_images(*reversed(sides))
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert turned.beyond_noise == found.beyond_noise


@given(JUDGED)
def test_the_interval_holds_the_difference_and_stays_among_possible_ones(sides: tuple[Judged, Judged]) -> None:
    found = compare_images(*sides)
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert found.mean == pytest.approx(sides[0].mean() - sides[1].mean())


@given(JUDGED, st.randoms(use_true_random=False))
def test_the_order_of_images_and_seeds_does_not_matter(sides: tuple[Judged, Judged], random: object) -> None:
    first, second = sides
    rows, columns = np.random.default_rng(0).permutation(first.shape[0]), np.arange(first.shape[1])[::-1]
    found, mixed = compare_images(first, second), compare_images(first[rows][:, columns], second[rows][:, columns])
    assert (mixed.mean, mixed.low, mixed.high) == pytest.approx((found.mean, found.low, found.high))


def test_a_clear_difference_on_many_images_is_beyond_noise_and_a_small_one_is_not() -> None:
    assert compare_images(*of_counts(60, 10, 100, 30)).beyond_noise
    assert compare_images(*of_counts(10, 60, 100, 30)).beyond_noise
    assert not compare_images(*of_counts(12, 10, 100, 78)).beyond_noise


def test_few_images_show_nothing_even_if_all_agree() -> None:
    assert not compare_images(*of_counts(1, 0, 0, 0)).beyond_noise


# -- only counts ------------------------------------------------------------------------------------------------------


def test_one_seed_has_newcombes_interval() -> None:
    """The example of his paper (1998, table II, method 10): 56 of 70 and 48 of 80 differ by 0.0524 to 0.3339."""
    found = compare_proportions([Accuracy(56, 70)], [Accuracy(48, 80)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert (found.seeds, found.images) == (1, 0)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_one_seed_has_the_interval_made_of_those_of_both_sides(n: int, m: int, data: st.DataObject) -> None:
    right, others = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = compare_proportions([Accuracy(right, n)], [Accuracy(others, m)])
    mine, theirs = (stats.binomtest(k, of).proportion_ci(method="wilson") for k, of in ((right, n), (others, m)))
    p, q = right / n, others / m
    low = p - q - math.sqrt((p - mine.low) ** 2 + (theirs.high - q) ** 2)
    high = p - q + math.sqrt((mine.high - p) ** 2 + (q - theirs.low) ** 2)
    assert (found.mean, found.low, found.high) == pytest.approx((p - q, low, high), abs=1e-9)


def test_several_seeds_add_their_own_spread_to_that_of_the_counts() -> None:
    first, second = [Accuracy(30, 40), Accuracy(34, 40)], [Accuracy(20, 40), Accuracy(28, 40)]
    found = compare_proportions(first, second)
    counts = compare_proportions([Accuracy(32, 40)], [Accuracy(24, 40)])
    over_seeds = compare_values([0.75, 0.85], [0.5, 0.7])
    assert found.mean == pytest.approx(0.2)
    half = over_seeds.high - over_seeds.mean
    assert found.mean - found.low == pytest.approx(math.hypot(counts.mean - counts.low, half))
    assert found.high - found.mean == pytest.approx(math.hypot(counts.high - counts.mean, half))
    assert found.seeds == 2


def test_seeds_that_agree_leave_the_noise_of_the_images() -> None:
    assert not compare_proportions([Accuracy(31, 40)] * 5, [Accuracy(30, 40)] * 5).beyond_noise
    assert compare_proportions([Accuracy(39, 40)] * 5, [Accuracy(10, 40)] * 5).beyond_noise


def test_swapping_the_sides_turns_the_difference_of_counts() -> None:
    for right, others in product(range(0, 9, 2), repeat=2):
        found = compare_proportions([Accuracy(right, 8)], [Accuracy(others, 8)])
        turned = compare_proportions([Accuracy(others, 8)], [Accuracy(right, 8)])
        assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))


# -- values without noise of their own --------------------------------------------------------------------------------


def test_values_of_several_seeds_are_compared_in_pairs() -> None:
    first, second = [5.0, 7.0, 9.0], [4.0, 7.0, 6.0]
    found = compare_values(first, second)
    test = stats.ttest_rel(first, second)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(4 / 3)
    assert (found.seeds, found.images) == (3, 0)


def test_values_of_one_seed_are_exact() -> None:
    assert compare_values([610.0], [1210.0]) == Difference(-600.0, -600.0, -600.0, 1, 0)


@given(FIGURES)
def test_equal_values_differ_by_nothing(values: list[float]) -> None:
    found = compare_values(values, values)
    assert found == Difference(0.0, 0.0, 0.0, len(values), 0)
    assert not found.beyond_noise


@pytest.mark.parametrize(
    ("low", "high", "beyond"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False)]
)
def test_beyond_noise_is_an_interval_without_zero(low: float, high: float, beyond: bool) -> None:
    assert Difference((low + high) / 2, low, high, 3, 0).beyond_noise is beyond


# -- amounts ----------------------------------------------------------------------------------------------------------

#: Means of 100 images, whose intervals reach differently far.
LOW, HIGH = Amount(2.0, 1.7, 2.4, 100), Amount(3.0, 2.9, 3.3, 90)


def test_amounts_of_one_seed_differ_by_the_margins_that_point_at_each_other() -> None:
    found = compare_amounts([HIGH], [LOW])
    # The first may be 0.1 lower and the second 0.4 higher; the first 0.3 higher and the second 0.3 lower.
    assert (found.mean, found.seeds, found.images) == (1.0, 1, 0)
    assert (found.low, found.high) == pytest.approx((1 - math.hypot(0.1, 0.4), 1 + math.hypot(0.3, 0.3)))


def test_amounts_turned_around_differ_by_the_opposite() -> None:
    one, other = (
        compare_amounts([HIGH, LOW, LOW], [LOW, LOW, HIGH]),
        compare_amounts([LOW, LOW, HIGH], [HIGH, LOW, LOW]),
    )
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))


def test_counts_are_compared_image_by_image() -> None:
    first, second = np.array([[3, 1, 2, 4]], np.int16), np.array([[1, 1, 1, 1]], np.int16)
    found = compare_counts(first, second)
    # Gains 2, 0, 1, 3 with 1 and -1 added: their deviation is that of six numbers whose mean is 1.
    assert (found.mean, found.seeds, found.images) == (1.5, 1, 4)
    half = 1.959964 * math.sqrt((1 + 1 + 0 + 4 + 0 + 4) / 6) / math.sqrt(6)
    assert (found.low, found.high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-6)


def test_counts_of_one_and_none_are_compared_as_judgements_are() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.integers(0, 2, (2, 3, 20)).astype(np.int16)
    judged = compare_images(first.astype(bool), second.astype(bool))
    assert compare_counts(first, second) == judged

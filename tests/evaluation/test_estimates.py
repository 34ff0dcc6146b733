from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import Estimate, estimate, estimate_accuracies, estimate_amounts, intervals_in_words
from rcframe.evaluation.evaluate import Accuracy

LOW, HIGH = Amount(2.0, 1.7, 2.4, 100), Amount(3.0, 2.9, 3.3, 90)
FIGURES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6))
def test_the_interval_adds_students_over_seeds_and_wilsons_over_images(right: list[int]) -> None:
    found = estimate_accuracies([Accuracy(count, 50) for count in right])
    values = [count / 50 for count in right]
    mean = statistics.fmean(values)
    # Of the nearest accuracy that 50 images can have.
    nearest = round(mean * 50)
    wilson = stats.binomtest(nearest, 50).proportion_ci(method="wilson")
    student = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    assert found.mean == pytest.approx(mean)
    assert found.mean - found.low == pytest.approx(math.hypot(student, nearest / 50 - wilson.low), abs=1e-9)
    assert found.high - found.mean == pytest.approx(math.hypot(student, wilson.high - nearest / 50), abs=1e-9)
    assert (found.seeds, found.images) == (len(right), 50)


def test_the_run_with_the_fewest_images_bounds_the_interval() -> None:
    few = estimate_accuracies([Accuracy(5, 10), Accuracy(500, 1000)])
    assert few == estimate([0.5, 0.5], 10)
    # (0.5 + 0.192073) / 1.384146 -+ 1.959964 * sqrt(0.025 + 0.009604) / 1.384146, by hand.
    assert (few.low, few.high) == pytest.approx((0.236593, 0.763407), abs=1e-6)


def test_amounts_keep_the_margins_of_the_mean_seed() -> None:
    # Means 0.3 -0.1 +0.2; over seeds 12.706205 * 0.1414214 / sqrt(2) = 1.2706205.
    found = estimate_amounts([Amount(0.2, 0.1, 0.4, 9), Amount(0.4, 0.3, 0.6, 8)])
    assert found.mean == pytest.approx(0.3)
    assert found.images == 8
    assert found.low == pytest.approx(0.3 - math.hypot(1.2706205, 0.1), abs=1e-6)
    assert found.high == pytest.approx(0.3 + math.hypot(1.2706205, 0.2), abs=1e-6)


def test_the_words_say_what_the_interval_speaks_of() -> None:
    assert intervals_in_words([3]) == "Means over the seeds, with 95% intervals over seeds and images."
    assert intervals_in_words([1]) == "95% intervals over images; with one seed they say nothing of others."


@pytest.mark.parametrize("values", [[0.8, 0.9], [0.1, 0.5, 0.9, 0.2], [0.97, 0.98, 0.96]])
def test_an_estimate_adds_the_noise_of_seeds_and_images_as_squares(values: list[float]) -> None:
    found, mean = estimate(values, 1200), float(np.mean(values))
    over_seeds = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    over_images = stats.binomtest(round(1200 * mean), 1200).proportion_ci(method="wilson")
    assert found.mean == pytest.approx(mean)
    assert (found.mean - found.low) ** 2 == pytest.approx(over_seeds**2 + (mean - over_images.low) ** 2)
    assert (found.high - found.mean) ** 2 == pytest.approx(over_seeds**2 + (over_images.high - mean) ** 2)
    assert (found.seeds, found.images) == (len(values), 1200)


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("right", [0, 101, 250])
def test_seeds_that_agree_leave_the_interval_of_their_images(seeds: int, right: int) -> None:
    """However many seeds there are: all of them share their images."""
    found = estimate([right / 250] * seeds, 250)
    by_scipy = stats.binomtest(right, 250).proportion_ci(method="wilson")
    assert found.low < found.high
    assert (found.low, found.high) == pytest.approx((by_scipy.low, by_scipy.high))


@given(FIGURES)
def test_an_estimate_of_a_size_has_students_interval_over_seeds(values: list[float]) -> None:
    found = estimate(values, 0)
    mean = float(np.mean(values))
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


@given(FIGURES, st.integers(1, 500))
def test_an_estimate_of_an_accuracy_is_never_exact_nor_narrower_than_over_seeds(
    values: list[float], images: int
) -> None:
    found, over_seeds = estimate(values, images), estimate(values, 0)
    assert found.low <= over_seeds.low
    assert over_seeds.high <= found.high
    assert found.low < found.high


@given(st.integers(0, 60), st.integers(60, 80))
def test_an_accuracy_of_one_seed_has_the_interval_of_its_report(correct: int, images: int) -> None:
    accuracy = Accuracy(correct, images)
    found = estimate([accuracy.value], images)
    assert (found.mean, found.low, found.high) == pytest.approx((accuracy.value, *accuracy.interval))
    assert (found.seeds, found.images) == (1, images)


def test_an_accuracy_of_one_seed_has_wilsons_interval() -> None:
    found = estimate([0.9], 50)
    by_scipy = stats.binomtest(45, 50).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((by_scipy.low, by_scipy.high))


def test_a_size_of_one_seed_is_exact() -> None:
    assert estimate([1210.0], 0) == Estimate(1210.0, 1210.0, 1210.0, 1, 0)


def test_an_amount_of_one_seed_keeps_its_interval() -> None:
    found = estimate_amounts([LOW])
    assert (found.mean, found.seeds, found.images) == (2.0, 1, 100)
    assert (found.low, found.high) == pytest.approx((1.7, 2.4))


def test_amounts_of_several_seeds_add_the_noise_of_seeds_to_the_mean_margins_over_images() -> None:
    found = estimate_amounts([LOW, HIGH])
    # Student's t of one degree of freedom, 12.706205, times the standard error of 2 and 3, which is 0.5.
    over_seeds = 12.706205 * 0.5
    assert (found.mean, found.seeds, found.images) == (2.5, 2, 90)
    assert found.mean - found.low == pytest.approx(math.hypot(over_seeds, 0.2), abs=1e-5)
    assert found.high - found.mean == pytest.approx(math.hypot(over_seeds, 0.35), abs=1e-5)

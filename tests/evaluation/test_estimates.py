from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, strategies as st
from scipy import stats

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import estimate, estimate_accuracies, estimate_amounts, intervals_in_words
from rcframe.evaluation.evaluate import Accuracy


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

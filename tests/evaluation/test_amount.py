from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats

from rcframe.evaluation.amount import Amount


def test_a_mean_with_its_interval_by_hand() -> None:
    # Deviations -1, 0, 1: the standard deviation is 1, and 1.959964 / sqrt(3) = 1.131586.
    found = Amount.mean(torch.tensor([1.0, 2.0, 3.0]))
    assert (found.value, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - 1.131586, 2 + 1.131586), abs=1e-6)


def test_one_image_has_an_interval_without_width() -> None:
    assert Amount.mean(torch.tensor([0.25])) == Amount(0.25, 0.25, 0.25, 1)


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=30))
def test_the_interval_is_the_normal_one(values: list[float]) -> None:
    found, array = Amount.mean(torch.tensor(values)), np.asarray(values)
    half = stats.norm.ppf(0.975) * stats.sem(array)
    assert (found.value, found.low, found.high) == pytest.approx(
        (array.mean(), array.mean() - half, array.mean() + half), abs=1e-9
    )

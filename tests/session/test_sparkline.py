from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from rcframe.session.sparkline import RAMP, sparkline

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60)


def test_the_lowest_value_is_drawn_lowest_and_the_highest_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.5, -1, 8], 20) == "▅▁█"


def test_of_many_values_the_last_of_each_group_is_drawn() -> None:
    # Groups of two: (0, 7), (7, 0), (0, 3.5).
    assert sparkline([0, 7, 7, 0, 0, 3.5], 3) == "█▁▅"
    # Five into two groups: (0, 1), (0, 0, 2).
    assert sparkline([0, 1, 0, 0, 2], 2) == "▁█"


def test_a_level_curve_is_drawn_in_the_middle() -> None:
    assert sparkline([0.3, 0.3, 0.3], 20) == "▅▅▅"


def test_what_is_no_number_is_left_out() -> None:
    assert sparkline([0, math.nan, 1, math.inf, -math.inf], 20) == "▁█"
    assert sparkline([], 20) == sparkline([math.nan], 20) == ""


def test_another_ramp_can_be_drawn_with() -> None:
    assert sparkline([0, 1, 2], 20, "abc") == "abc"


@pytest.mark.parametrize("low", [-1.7e308, 5e-324])
def test_the_largest_and_smallest_numbers_are_drawn(low: float) -> None:
    assert sparkline([low, 1.7e308], 20) == "▁█"


@given(NUMBERS, st.integers(1, 30))
def test_a_curve_has_a_sign_per_value_up_to_the_width_and_never_falls_where_values_rise(
    values: list[float], width: int
) -> None:
    assert len(sparkline(values, width)) == min(len(values), width)
    heights = [RAMP.index(sign) for sign in sparkline(sorted(values), width)]
    assert heights == sorted(heights)


@given(NUMBERS)
def test_the_last_sign_is_of_the_last_value(values: list[float]) -> None:
    drawn = sparkline(values, 16)
    if values[-1] / 2 == max(values) / 2 != min(values) / 2 and drawn != RAMP[len(RAMP) // 2] * len(drawn):
        assert drawn[-1] == RAMP[-1]

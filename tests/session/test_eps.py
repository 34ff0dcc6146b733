from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from rcframe.errors import RequestError
from rcframe.session.eps import read_eps


@pytest.mark.parametrize("value", ["8/255", 0.03, 1, "0"])
def test_one_radius_makes_no_curve(value: object) -> None:
    eps = read_eps(value)
    assert (str(eps.largest), eps.curve) == (str(value), ())


@pytest.mark.parametrize(
    ("typed", "points"),
    [
        ("0:0.02:0.005", ["0", "0.005", "0.01", "0.015", "0.02"]),
        ("0.1:0.3:0.1", ["0.1", "0.2", "0.3"]),
        ("0:4/255:1/255", ["0", "1/255", "2/255", "3/255", "4/255"]),
        ("0:8/255:4/255", ["0", "4/255", "8/255"]),
        ("0:1/2:1/6", ["0", "1/6", "2/6", "3/6"]),
        ("0:0.1:1/30", ["0", "1/30", "2/30", "3/30"]),
        ("0:1e-1:5e-2", ["0", "0.05", "0.1"]),
        (" 0 : 2 : 1 ", ["0", "1", "2"]),
    ],
)
def test_a_range_has_exact_points_written_as_a_user_would(typed: str, points: list[str]) -> None:
    eps = read_eps(typed)
    assert [str(point) for point in eps.curve] == points
    assert str(eps.largest) == points[-1]
    assert eps.typed == typed


def test_the_end_of_a_range_is_a_point_also_where_no_step_leads_to_it() -> None:
    assert [str(point) for point in read_eps("0:0.1:0.03").curve] == ["0", "0.03", "0.06", "0.09", "0.1"]


@given(st.integers(0, 1000), st.integers(1, 99), st.integers(1, 300), st.integers(1, 6))
def test_points_are_evenly_spaced_to_the_last_digit(start: int, step: int, count: int, digits: int) -> None:
    unit = Fraction(1, 10**digits)
    parts = [start * unit, (start + step * count) * unit, step * unit]
    eps = read_eps(":".join(f"{float(part):.{digits}f}" for part in parts))
    exact = [Fraction(str(point)) for point in eps.curve]
    assert exact == [parts[0] + number * parts[2] for number in range(count + 1)]
    # Each point is the number that a user gets who types it.
    assert all(float(point) == float(str(point)) for point in eps.curve)


@pytest.mark.parametrize("value", ["0,0.01,8/255", [0, 0.01, "8/255"], (0, "0.01", "8/255"), "0, 0.01 ,8/255"])
def test_a_list_is_taken_as_it_is(value: object) -> None:
    eps = read_eps(value)
    assert [str(point) for point in eps.curve] == ["0", "0.01", "8/255"]
    assert read_eps(eps.typed).curve == eps.curve


def test_a_list_or_range_of_one_is_one_radius() -> None:
    assert read_eps([0.1]).curve == read_eps("0.1:0.1:1").curve == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("-0.1", "eps is -0.1, but a radius cannot be negative"),
        ("0,-0.1", "eps is -0.1, but a radius cannot be negative"),
        ("-0.1:0.1:0.1", "eps is -0.1:0.1:0.1, but a radius cannot be negative"),
        ("0:0.1:0", "its step is 0: it must be more than 0"),
        ("0:0.1:-0.01", "its step is -0.01: it must be more than 0"),
        ("0.1:0:0.01", "its end is below its start"),
        ("0:1:0.001", "which is 1,001 radii, but a run takes 500 at most"),
        ("0:1:1e-300", "but a run takes 500 at most"),
        (list(range(501)), "which is 501 radii"),
        ("0.1,0.1", "0.1 follows 0.1: name the radii from the smallest to the largest"),
        ([0.2, 0.1], "0.1 follows 0.2"),
        ("0:0.1", "a range is written from:to:step"),
        ("0:1:2:3", "a range is written from:to:step"),
        ("a", "eps is 'a', but it must be a number in pixels"),
        ("0,a", "eps is 'a', but it must be a number in pixels"),
        ("0:a:1", "eps is 'a', but it must be a number in pixels"),
        ("0:1:", "eps is '', but it must be a number in pixels"),
        ("0:1/0:1", "eps is '1/0', but it must be a number"),
        ("0:nan:1", "eps is 'nan', but it must be a number"),
        ("0,,1", "eps is '', but it must be a number"),
        ([], "eps is an empty list"),
        (True, "eps is True, but it must be a number"),
        ([None], "eps is None, but it must be a number"),
        ({}, "eps is {}, but it must be a number"),
    ],
)
def test_what_cannot_be_is_a_sentence(value: object, words: str) -> None:
    with pytest.raises(RequestError) as raised:
        read_eps(value)
    assert words in str(raised.value)
    assert str(raised.value).endswith(".")

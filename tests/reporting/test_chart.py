from __future__ import annotations

import math

import pytest

from rcframe.evaluation.estimates import Estimate
from rcframe.reporting.chart import (
    Axis,
    Chart,
    Line,
    Point,
    Style,
    data_of,
    number,
    percent_point,
    sentence,
    spans_decades,
    told_apart,
)


def test_the_table_behind_a_chart_holds_every_point_with_its_interval() -> None:
    lines = (
        Line("with", (Point(2, 50, 40, 60), Point(1, 30, 25, 35)), Style(0)),
        Line("without", (Point(2, 7.25),), Style(1)),
    )
    table = data_of(Chart(x=Axis("x"), y=Axis("y"), lines=lines), "t", ("mind",))
    assert table.columns == ("x", "with", "with: low", "with: high", "without")
    assert table.rows == (("1", "30", "25", "35", "-"), ("2", "50", "40", "60", "7.25"))
    assert (table.title, table.notes) == ("t", ("mind",))


def test_lines_of_one_name_have_columns_of_their_own() -> None:
    lines = tuple(Line("x", (Point(1, y),), Style(y)) for y in (5, 6))
    table = data_of(Chart(x=Axis("x"), y=Axis("y"), lines=lines), "t")
    assert table.rows == (("1", "5", "6"),)
    assert len(set(table.columns)) == 3


def test_names_are_told_apart() -> None:
    assert told_apart(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


def test_accuracies_are_shown_in_percent_and_end_where_accuracies_do() -> None:
    assert percent_point(3, Estimate(0.5, -0.1, 1.2, 2, 9)) == Point(3, 50, 0, 100)


@pytest.mark.parametrize(
    ("values", "spans"), [([1, 10], False), ([1, 11], True), ([0, 100], False), ([], False), ([-1, 50], False)]
)
def test_values_more_than_a_decade_apart_want_a_logarithmic_axis(values: list[float], spans: bool) -> None:
    assert spans_decades(values) == spans


@pytest.mark.parametrize(
    ("value", "written"),
    [(5.0, "5"), (0.123456, "0.1235"), (32182.4, "32182"), (-0.5, "-0.5"), (math.inf, "inf"), (1e-6, "1e-06")],
)
def test_numbers_are_written_with_the_digits_that_count(value: float, written: str) -> None:
    assert number(value) == written


def test_captions_are_sentences() -> None:
    assert sentence("loss of PGD.") == "Loss of PGD."
    assert sentence("x") == "X."

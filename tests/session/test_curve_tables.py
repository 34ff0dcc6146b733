from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from rcframe.evaluation.evaluate import Accuracy
from rcframe.options import Number
from rcframe.session.curve_tables import curves_of, evenly_with_ends
from rcframe.session.report import CurvePoint, Measurement, ModelReport, Report

if TYPE_CHECKING:
    from tests.session.conftest import MakeReport

SHORT = ("pgd", "fgsm")
LONG = ("pgd", "bim", "transfer:source=teacher", "transfer:source=student", "square:queries=200")


def curved(first: int, count: int) -> Measurement:
    """Of 200 images `first` are right at eps 0, and ten less at each further radius."""
    curve = tuple(
        CurvePoint(Number(f"{n}/255" if n else "0"), Accuracy(max(first - 10 * n, 0), 200)) for n in range(count)
    )
    return Measurement(curve[-1].result, curve=curve)


def with_curves(plain: Report, specs: tuple[str, ...] = SHORT, count: int = 3, less: int = 0) -> Report:
    """Each attack leaves twenty images less than the one before, of the teacher's 200 and of the student's 100."""

    def bent(model: ModelReport, right: int) -> ModelReport:
        attacked = {spec: curved(right - less - 20 * place, count) for place, spec in enumerate(specs)}
        worst = curved(right - less - 20 * len(specs), count)
        return attrs.evolve(model, attacked=attacked, worst_case=worst, certified={})

    return attrs.evolve(plain, teacher=bent(plain.teacher, 200), student=bent(plain.student, 100))


def printed(*reports: Report, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(curves_of(reports))
    return [line.strip() for line in stream.getvalue().splitlines()]


def cells(lines: list[str], wall: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split(wall)] for line in lines if line.startswith(wall)]


@pytest.fixture
def plain(make_report: MakeReport) -> Report:
    return make_report()


def test_teacher_and_student_stand_in_one_cell(plain: Report) -> None:
    lines = printed(with_curves(plain))
    assert lines[0] == "Accuracy against eps: teacher | student"
    assert cells(lines, "┃") == [["eps", "pgd", "fgsm", "worst case"]]
    assert cells(lines, "│") == [
        ["0", "100.0 | 50.0", "90.0 | 40.0", "80.0 | 30.0"],
        ["1/255", "95.0 | 45.0", "85.0 | 35.0", "75.0 | 25.0"],
        ["2/255", "90.0 | 40.0", "80.0 | 30.0", "70.0 | 20.0"],
    ]


def test_certifiers_stand_last_and_what_has_no_curve_is_left_out(plain: Report) -> None:
    def certified(model: ModelReport) -> ModelReport:
        return attrs.evolve(model, certified={"convex": curved(20, 3)}, attacked={**model.attacked, "bim": model.clean})

    whole = with_curves(plain)
    lines = printed(attrs.evolve(whole, teacher=certified(whole.teacher), student=certified(whole.student)), width=140)
    assert cells(lines, "┃")[-1:] == [["eps", "pgd", "fgsm", "worst case", "by convex"]]


def test_names_that_do_not_fit_become_numbers_with_a_legend(plain: Report) -> None:
    specs = LONG[2:4]
    lines = printed(with_curves(plain, specs), width=60)
    assert [head for row in cells(lines, "┃") for head in row if head] == ["eps", "1", "2", "worst case"]
    assert cells(lines, "│")[1] == ["1/255", "95.0 | 45.0", "85.0 | 35.0", "75.0 | 25.0"]
    assert lines[-2:] == ["1: transfer:source=teacher", "2: transfer:source=student"]


def test_the_worst_case_takes_no_number(plain: Report) -> None:
    def certified(model: ModelReport) -> ModelReport:
        return attrs.evolve(model, certified={"convex:layers=conv1+conv2,steps=100": curved(20, 3)})

    whole = with_curves(plain, ("pgd",))
    lines = printed(attrs.evolve(whole, teacher=certified(whole.teacher), student=certified(whole.student)), width=60)
    assert [head for row in cells(lines, "┃") for head in row if head] == ["eps", "1", "worst case", "2"]
    assert lines[-2:] == ["1: pgd", "2: certified by convex:layers=conv1+conv2,steps=100"]


def test_more_attacks_than_fit_take_a_table_for_each_network(plain: Report) -> None:
    lines = printed(with_curves(plain, LONG))
    assert [line for line in lines if line.startswith("Accuracy")] == [
        "Accuracy against eps: teacher",
        "Accuracy against eps: student",
    ]
    rows = cells(lines, "│")
    assert rows[1] == ["1/255", "95.0", "85.0", "75.0", "65.0", "55.0", "45.0"]
    assert rows[3] == ["0", "50.0", "40.0", "30.0", "20.0", "10.0", "0.0"]
    assert lines[-5:] == [f"{place}: {spec}" for place, spec in enumerate(LONG, start=1)]


def test_short_names_are_kept_where_a_table_for_each_network_has_room(plain: Report) -> None:
    lines = printed(with_curves(plain, ("pgd", "bim", "mim", "fgsm", "apgd-ce", "cw")))
    heads = [cell for row in cells(lines, "┃") for cell in row if cell]
    assert heads == ["worst", "eps", "pgd", "bim", "mim", "fgsm", "apgd-ce", "cw", "case"] * 2
    assert not any(line.startswith("1:") for line in lines)


@pytest.mark.parametrize("width", [30, 45, 60, 80, 120, 200])
@pytest.mark.parametrize("specs", [SHORT, LONG, tuple(f"{name}:restarts={n}" for n in range(3) for name in LONG)])
def test_at_any_width_nothing_is_cut_broken_or_lost(plain: Report, width: int, specs: tuple[str, ...]) -> None:
    lines = printed(with_curves(plain, specs), width=width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    for spec in specs:
        assert spec in "".join(lines)
    inside = [cell for row in cells(lines, "│") for cell in row]
    assert inside
    assert all(inside), "a broken figure leaves blank cells beside it"
    figures = [figure for row in cells(lines, "│") for cell in row[1:] for figure in cell.split(" | ")]
    assert len(figures) == 2 * 3 * (len(specs) + 1)


def test_several_seeds_show_the_mean_and_the_spread_of_each_point(plain: Report) -> None:
    # 200, 180 and 160 of 200 at eps 0: 100, 90 and 80 percent, mean 90, deviations 10, 0, 10, variance 200 / 2.
    lines = printed(*(with_curves(plain, SHORT, less=less) for less in (0, 20, 40)))
    text = "\n".join(lines)
    assert "mean ± standard deviation over 3 seeds: teacher" in text
    first, *_, last = cells(lines, "│")
    assert first == ["0", "90.0 ± 10.0", "80.0 ± 10.0", "70.0 ± 10.0"]
    assert last == ["2/255", "30.0 ± 10.0", "20.0 ± 10.0", "10.0 ± 10.0"]


def test_a_long_curve_is_thinned_out_evenly_and_says_so(plain: Report) -> None:
    lines = printed(with_curves(plain, count=101), width=100)
    shown = [int(row[0].split("/")[0]) for row in cells(lines, "│")]
    assert (len(shown), shown[0], shown[-1]) == (25, 0, 100)
    assert {after - before for before, after in itertools.pairwise(shown)} <= {4, 5}
    assert "25 of 101 radii are shown" in " ".join(lines)
    assert "radii are shown" not in " ".join(printed(with_curves(plain, count=25)))


def test_without_curves_there_is_no_table(plain: Report) -> None:
    assert curves_of([plain, plain]) is None


@given(st.integers(1, 600), st.integers(2, 40))
def test_thinned_places_are_few_different_and_reach_both_ends(count: int, most: int) -> None:
    places = evenly_with_ends(count, most)
    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, count - 1)

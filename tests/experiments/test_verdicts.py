from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st

from rcframe.experiments.recipe import Claim, Pair
from rcframe.experiments.verdicts import _together, decide, judge_claim
from rcframe.findings.folders import collect
from rcframe.findings.records import ClaimRecord, ComparisonRecord, Verdict
from rcframe.findings.statistics import Difference
from rcframe.session.evidence import About
from tests.findings.folders_made import IMAGES, Made, make_matrix, right, row

CLEAN = About("student", "clean")


def claim(**changes: object) -> Claim:
    made = Claim(says="It helps.", about=CLEAN, pairs=(Pair(higher="a", lower="b"),))
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]  # fields by name


def points(low: float, high: float, seeds: int = 3) -> Difference:
    """A difference of accuracies whose interval is given in points of percent."""
    return Difference((low + high) / 200, low / 100, high / 100, seeds, 450)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 3, "holds"),
        (-3, -0.1, "does not hold"),
        (-0.1, 3, "undecided"),
        (-3, 0.1, "undecided"),
        (0, 3, "undecided"),
        (-3, 0, "undecided"),
        (0, 0, "undecided"),
    ],
)
def test_a_claim_of_higher_needs_the_whole_interval(low: float, high: float, verdict: Verdict) -> None:
    assert decide(claim(), points(low, high)) == verdict


@pytest.mark.parametrize(
    ("by", "low", "high", "verdict"),
    [
        (2, 2.1, 5, "holds"),
        (2, 2, 5, "undecided"),
        (2, 0.5, 5, "undecided"),
        (2, 0.5, 1.9, "does not hold"),
        (2, 0.5, 2, "undecided"),
        # At most 2 points below.
        (-2, -1.9, 4, "holds"),
        (-2, -2, 4, "undecided"),
        (-2, -2.1, 4, "undecided"),
        (-2, -5, -2.1, "does not hold"),
        (-2, -5, -2, "undecided"),
    ],
)
def test_a_margin_moves_the_border(by: float, low: float, high: float, verdict: Verdict) -> None:
    assert decide(claim(by=by), points(low, high)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.9, 0.9, "holds"),
        (-1, 0.9, "undecided"),
        (-0.9, 1, "undecided"),
        (-3, 3, "undecided"),
        (0.5, 3, "undecided"),
        (-3, -0.5, "undecided"),
        (1, 3, "undecided"),
        (1.1, 3, "does not hold"),
        (-3, -1.1, "does not hold"),
        (-3, -1, "undecided"),
    ],
)
def test_a_claim_of_alike_needs_the_interval_within_the_width(low: float, high: float, verdict: Verdict) -> None:
    assert decide(claim(within=1.0), points(low, high)) == verdict


@given(st.floats(-100, 100), st.floats(0, 50), st.floats(0.125, 20))
def test_alike_is_alike_from_both_sides(mean: float, half: float, width: float) -> None:
    one, other = points(mean - half, mean + half), points(-mean - half, -mean + half)
    assert decide(claim(within=width), one) == decide(claim(within=width), other)


@pytest.mark.parametrize("measure", [{}, {"by": -5}, {"within": 50.0}])
def test_one_seed_decides_nothing(measure: dict[str, float]) -> None:
    for low, high in ((20, 30), (-30, -20), (-1, 1)):
        assert decide(claim(**measure), points(low, high, seeds=1)) == "undecided"


def test_sizes_are_counted_in_numbers_and_not_in_points() -> None:
    size = claim(about=About("student", "parameters"), by=1000)
    assert decide(size, Difference(1500, 1200, 1800, 3, 0)) == "holds"
    assert decide(size, Difference(500, 200, 800, 3, 0)) == "does not hold"
    assert decide(claim(by=1000), points(50, 60)) == "does not hold"


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "undecided"),
        (["undecided", "does not hold", "holds"], "does not hold"),
        (["does not hold"], "does not hold"),
    ],
)
def test_a_claim_holds_if_all_its_comparisons_do(verdicts: list[Verdict], verdict: Verdict) -> None:
    assert _together(verdicts) == verdict


def test_what_was_not_run_is_undecided() -> None:
    pairs = (Pair(higher="a", lower="b"), Pair(higher="c", lower="d"))
    record = judge_claim(claim(pairs=pairs, note="Perhaps."), "full", {})
    assert record == ClaimRecord(
        says="It helps.",
        verdict="undecided",
        comparisons=(
            ComparisonRecord(words="student clean: `a` is higher than `b`", difference=None, verdict="undecided"),
            ComparisonRecord(words="student clean: `c` is higher than `d`", difference=None, verdict="undecided"),
        ),
    )
    assert judge_claim(claim(note="Perhaps."), "small", {}).note == "Perhaps."


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ({}, "student clean: `a` is higher than `b`"),
        ({"by": 2}, "student clean: `a` is higher than `b` by more than 2 points"),
        ({"by": -2.5}, "student clean: `a` is at most 2.5 points below `b`"),
        ({"within": 0.5}, "student clean: `a` and `b` differ by less than 0.5 points"),
        (
            {"by": 1000, "about": About("teacher", "bytes"), "against": About("teacher", "bytes")},
            "teacher bytes: `a` is higher than `b` by more than 1000",
        ),
        ({"against": About("teacher", "clean")}, "student clean of `a` is higher than teacher clean of `b`"),
        (
            {"against": About("student", "pgd"), "pairs": (Pair(higher="a", lower="a"),)},
            "`a`: student clean is higher than student pgd",
        ),
    ],
)
def test_a_comparison_is_put_into_words(measure: dict[str, object], words: str) -> None:
    assert judge_claim(claim(**measure), "full", {}).comparisons[0].words == words


def test_a_comparison_says_what_its_difference_is_shown_in() -> None:
    (points,), (size,) = (
        judge_claim(claim(about=about), "full", {}).comparisons
        for about in (About("student", "clean"), About("student", "bytes"))
    )
    assert (points.unit, size.unit) == (0.01, 1.0)


def test_two_figures_of_one_row_are_compared_run_by_run(tmp_path: Path) -> None:
    runs = [
        Made(seed=seed, student=right(30 + seed), attacked={"pgd": (right(9), right(10 + seed))}) for seed in range(3)
    ]
    make_matrix(tmp_path / "m", [(row("a", run.seed), run) for run in runs])
    (group,) = collect([tmp_path / "m"]).groups
    under_attack = claim(pairs=(Pair(higher="a", lower="a"),), against=About("student", "pgd"))
    (comparison,) = judge_claim(under_attack, "full", {"a": group}).comparisons
    assert comparison.difference is not None
    assert comparison.difference.mean == pytest.approx(20 / IMAGES)
    assert (comparison.difference.images, comparison.verdict) == (IMAGES, "holds")

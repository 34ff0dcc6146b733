from __future__ import annotations

import io
import json
import statistics
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from scipy import stats

from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.session.seeds import SeedsReport, Spread, is_seeds_report

if TYPE_CHECKING:
    from tests.session.conftest import MakeReport


def test_mean_spread_and_interval_by_hand() -> None:
    # Deviations -0.1, 0, 0.1: the variance is 0.02 / 2. Student's t for 2 degrees of freedom and 95% is 4.302653.
    spread = Spread((0.8, 0.9, 1.0))
    assert spread.mean == pytest.approx(0.9)
    assert spread.deviation == pytest.approx(0.1)
    assert spread.interval == pytest.approx((0.9 - 0.248414, 0.9 + 0.248414), abs=1e-6)


def test_two_seeds_by_hand() -> None:
    # Half the difference times t for one degree of freedom, 12.706205.
    assert Spread((0.5, 0.7)).interval == pytest.approx((0.6 - 1.2706205, 0.6 + 1.2706205), abs=1e-6)
    assert Spread((0.5, 0.7)).deviation == pytest.approx(0.02**0.5)


def test_equal_figures_have_no_spread() -> None:
    spread = Spread((0.5, 0.5, 0.5))
    assert (spread.deviation, spread.interval) == (0.0, (0.5, 0.5))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_the_interval_is_students(values: list[float]) -> None:
    spread = Spread(tuple(values))
    error = stats.sem(values)
    if error == 0:
        return
    expected = stats.t.interval(0.95, len(values) - 1, loc=statistics.fmean(values), scale=error)
    assert spread.interval == pytest.approx(expected, abs=1e-9)
    assert spread.interval[0] <= spread.mean <= spread.interval[1]


def test_a_figure_in_json_keeps_every_value() -> None:
    spread = Spread((0.25, 0.75))
    assert spread.as_json() == {
        "mean": 0.5,
        "std": spread.deviation,
        "low": spread.interval[0],
        "high": spread.interval[1],
        "values": [0.25, 0.75],
    }


@pytest.fixture
def report(make_report: MakeReport) -> SeedsReport:
    return SeedsReport(
        "rcframe run --seeds 3",
        tuple(
            make_report(seed, clean=clean, attacked=attacked, flags=flags)
            for seed, clean, attacked, flags in [(4, 4, 0, ()), (5, 6, 1, ("odd",)), (6, 5, 2, ())]
        ),
    )


def test_every_figure_of_both_models_is_gathered_over_the_seeds(report: SeedsReport) -> None:
    assert report.seeds == (4, 5, 6)
    assert {what: spread.values for what, spread in report.student().items()} == {
        "clean": (4 / 8, 6 / 8, 5 / 8),
        "pgd:steps=3": (0.0, 1 / 8, 2 / 8),
        "certified by convex": (1 / 8, 1 / 8, 1 / 8),
    }
    assert report.teacher()["clean"].values == (5 / 8, 7 / 8, 6 / 8)


def test_an_attack_and_a_certifier_of_one_name_stay_apart(make_report: MakeReport) -> None:
    both = SeedsReport("", tuple(make_report(seed, attacked=3, spec="convex") for seed in (0, 1)))
    found = {what: spread.mean for what, spread in both.student().items()}
    assert found == {"clean": 6 / 8, "convex": 3 / 8, "certified by convex": 1 / 8}


def test_the_json_has_the_figures_first_and_every_run_whole(report: SeedsReport) -> None:
    written = json.loads(report.to_json())
    assert list(written) == ["format", "command", "seeds", "teacher", "student", "runs"]
    assert (written["format"], written["command"], written["seeds"]) == (1, "rcframe run --seeds 3", [4, 5, 6])
    assert written["student"]["clean"]["mean"] == pytest.approx(5 / 8)
    assert written["student"]["clean"]["values"] == [4 / 8, 6 / 8, 5 / 8]
    assert written["runs"] == [json.loads(run.to_json()) for run in report.runs]
    assert report.to_json().endswith("}\n")


def test_the_json_of_several_seeds_is_told_from_that_of_one(report: SeedsReport) -> None:
    assert is_seeds_report(json.loads(report.to_json()))
    assert not is_seeds_report(json.loads(report.runs[0].to_json()))


def printed(report: SeedsReport) -> str:
    stream = io.StringIO()
    Console(width=200, file=stream).print(report)
    return stream.getvalue()


def row(text: str, start: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if line.strip("│ ").startswith(start)]
    return [cell.strip() for cell in found.strip().strip("│").split("│")]


def test_the_table_has_mean_spread_and_interval_of_both_models(report: SeedsReport) -> None:
    text = printed(report)
    assert "digits, seeds 4 to 6, on cpu" in text
    assert "teacher: plain" in text
    assert "student: kd" in text
    # 5/8 and 6/8 in percent, a deviation of 1/8, and 4.302653 / sqrt(3) times that to either side; 106.1 is cut to 100.
    assert row(text, "clean") == ["clean", "75.0 ± 12.5 [43.9, 100.0]", "62.5 ± 12.5 [31.4, 93.6]"]
    assert row(text, "pgd:steps=3 (") == ["pgd:steps=3 (linf, eps 8/255)", *["12.5 ± 12.5 [0.0, 43.6]"] * 2]
    assert row(text, "certified by")[::2] == ["certified by convex (linf, eps 8/255)", "12.5 ± 0.0 [12.5, 12.5]"]


def test_the_table_says_how_it_was_measured_and_what_to_beware_of(report: SeedsReport) -> None:
    text = printed(report)
    assert "mean over 3 seeds" in text
    assert "n = 8" in text
    assert "pgd:steps=3: steps 3, layers a+b (rcframe-attacks 1.2)\n" in text.replace(" \n", "\n")
    assert "convex: no options (rcframe-attacks 1.2)" in text
    assert "seed 4" not in text
    assert text.count("Beware") == 1
    assert "* Beware (seed 5): odd" in text


def test_what_several_seeds_found_is_said_once(make_report: MakeReport) -> None:
    few = Flag(Kind.FEW_IMAGES, "too few")
    text = printed(SeedsReport("", tuple(make_report(seed, flags=(few, f"of {seed}")) for seed in (3, 4))))
    assert [line.strip() for line in text.splitlines()[-4:]] == [
        "* Beware (few images, seeds 3, 4): too few",
        "* Beware (seed 3): of 3",
        "* Beware (seed 4): of 4",
        "docs/trust.md says what to do about each.",
    ]

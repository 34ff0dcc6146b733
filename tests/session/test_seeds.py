from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.session.seeds import SeedsReport, Spread, is_seeds_report

if TYPE_CHECKING:
    from tests.session.conftest import MakeReport


def spread(*right: int) -> Spread:
    """The same accuracy of several seeds, so many of 10 images right in each."""
    return Spread.of_accuracies([Accuracy(count, 10) for count in right])


def test_mean_spread_and_interval_by_hand() -> None:
    # Deviations -0.1, 0, 0.1: the variance is 0.02 / 2. Student's t for 2 degrees of freedom and 95% is 4.302653, so
    # seeds reach 0.248414 to either side; Wilson's interval of 9 of 10 is [0.595850, 0.982123].
    found = spread(8, 9, 10)
    assert found.mean == pytest.approx(0.9)
    assert found.deviation == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.9 - 0.392707, 0.9 + 0.261637), abs=1e-5)


def test_seeds_that_agree_leave_the_noise_of_the_images() -> None:
    found = spread(5, 5, 5)
    assert found.deviation == 0.0
    assert found.interval == pytest.approx((0.236593, 0.763407), abs=1e-6)


def test_a_figure_that_is_no_accuracy_brings_its_own_noise_of_the_images() -> None:
    found = Spread.of_amounts([Amount(0.25, 0.125, 0.5, 8), Amount(0.25, 0.125, 0.5, 8)])
    assert (found.values, found.interval) == ((0.25, 0.25), (0.125, 0.5))


def test_a_figure_in_json_keeps_every_value() -> None:
    found = spread(3, 7)
    assert found.as_json() == {
        "mean": 0.5,
        "std": found.deviation,
        "low": found.interval[0],
        "high": found.interval[1],
        "values": [0.3, 0.7],
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
    assert {what: each.values for what, each in report.student().items()} == {
        "clean": (4 / 8, 6 / 8, 5 / 8),
        "pgd:steps=3": (0.0, 1 / 8, 2 / 8),
        "certified by convex": (1 / 8, 1 / 8, 1 / 8),
    }
    assert report.teacher()["clean"].values == (5 / 8, 7 / 8, 6 / 8)


def test_an_attack_and_a_certifier_of_one_name_stay_apart(make_report: MakeReport) -> None:
    both = SeedsReport("", tuple(make_report(seed, attacked=3, spec="convex") for seed in (0, 1)))
    found = {what: each.mean for what, each in both.student().items()}
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
    # 5/8 and 6/8 in percent, a deviation of 1/8, and to either side the root of the squares of 31.1 (4.302653 / sqrt(3)
    # times that) and of what Wilson's interval of as many images reaches; 106.1 is cut to 100.
    assert row(text, "clean") == ["clean", "75.0 ± 12.5 [28.9, 100.0]", "62.5 ± 12.5 [18.0, 100.0]"]
    assert row(text, "pgd:steps=3 (") == ["pgd:steps=3 (linf, eps 8/255)", *["12.5 ± 12.5 [0.0, 59.0]"] * 2]
    assert row(text, "certified by")[::2] == ["certified by convex (linf, eps 8/255)", "12.5 ± 0.0 [2.2, 47.1]"]


def test_the_table_says_how_it_was_measured_and_what_to_beware_of(report: SeedsReport) -> None:
    text = printed(report)
    assert "mean over 3 seeds" in text
    assert "Means over the seeds, with 95% intervals over seeds and images. Each run measured n = 8 images." in text
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

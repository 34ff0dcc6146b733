from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rcframe.evaluation.estimates import Estimate, intervals_in_words
from rcframe.findings.folders import collect
from rcframe.findings.overview import amount, overview, percent
from rcframe.findings.tables import Table
from tests.findings.folders_made import Made, falls, make_matrix, make_run, make_unfinished, right, row
from tests.findings.outputs_made import answered, logits


def cell(table: Table, run: str, column: str) -> str:
    (found,) = [cells for cells in table.rows if cells[0] == run]
    return found[table.columns.index(column)]


def test_there_is_a_row_for_each_group_with_what_was_measured_and_weighed(tmp_path: Path) -> None:
    attacked = {"fgsm": (right(20), right(10))}
    make_run(tmp_path / "one", Made(attacked=attacked, parameters=1234, flags=("doubt", "more doubt")))
    table = overview(collect([tmp_path / "one"]))
    # Wilson's interval of 10 of 40, worked out by hand: (0.25 + 0.048) / 1.096 +- ...
    assert cell(table, "one", "student fgsm") == "25.0 [14.2, 40.2]"
    assert cell(table, "one", "teacher fgsm").startswith("50.0 [")
    assert cell(table, "one", "n") == "40"
    assert cell(table, "one", "seeds") == "1"
    assert cell(table, "one", "student parameters") == "1,234"
    assert cell(table, "one", "student bytes") == "4,936"
    assert cell(table, "one", "warnings") == "2"
    assert "remarks" not in table.columns


def test_seeds_of_one_configuration_are_one_row(tmp_path: Path) -> None:
    for seed, count in ((0, 30), (1, 32)):
        make_run(tmp_path / str(seed), Made(seed=seed, student=right(count)))
    table = overview(collect([tmp_path]))
    assert len(table.rows) == 1
    # Mean 77.5; over seeds 12.706 * 3.5355 / sqrt(2) = 31.77, and Wilson's interval of 31 of 40 reaches 15.0 down:
    # sqrt(31.77^2 + 15.0^2) = 35.1. The interval ends at 100.
    assert table.rows[0][table.columns.index("student clean")] == "77.5 [42.4, 100.0]"


def test_seeds_that_agree_by_chance_have_an_interval(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / str(seed), Made(seed=seed, student=right(10)))
    table = overview(collect([tmp_path]))
    assert table.rows[0][table.columns.index("student clean")] == "25.0 [14.2, 40.2]"


def test_clean_stands_before_attacked_and_that_before_certified_the_teacher_first(tmp_path: Path) -> None:
    both = (right(3), right(4))
    make_run(tmp_path / "a", Made(attacked={"pgd": both}, certified={"convex": both}))
    columns = overview(collect([tmp_path])).columns
    assert columns[1:7] == (
        "teacher clean",
        "student clean",
        "teacher pgd",
        "student pgd",
        "teacher certified by convex",
        "student certified by convex",
    )


def test_a_curve_is_shown_by_its_last_point_and_several_attacks_by_their_worst_case_too(tmp_path: Path) -> None:
    radii = ("0", "0.1", "0.2")
    both = (falls(4, 0, 6, 10, radii=radii), falls(10, 0, 6, 10, radii=radii))
    certified = {"convex": (right(3), right(4))}
    made = Made(radii=radii, breaking={"pgd": both, "mim": both}, certified=certified)
    make_run(tmp_path / "a", made)
    make_run(tmp_path / "b", Made(attacked={"fgsm": (right(3), right(4))}))
    table = overview(collect([tmp_path]))
    assert [name for name in table.columns[1:13] if name.startswith("student")] == [
        "student clean",
        "student pgd",
        "student mim",
        "student fgsm",
        "student worst case",
        "student certified by convex",
    ]
    assert cell(table, "a", "student worst case") == cell(table, "a", "student pgd") != "-"
    assert not any(" at " in name for name in table.columns)


def test_what_only_some_groups_measured_is_missing_in_the_others(tmp_path: Path) -> None:
    rows = [(row("a"), Made(attacked={"fgsm": (right(3), right(4))})), (row("b"), Made())]
    table = overview(collect([make_matrix(tmp_path / "m", rows)]))
    assert cell(table, "b", "student fgsm") == "-"


def test_the_reason_of_a_failed_run_stands_in_its_row(tmp_path: Path) -> None:
    failed = attrs.evolve(row("b"), status="failed", reason="out of memory")
    second = attrs.evolve(row("a", 1), status="failed", reason="no space")
    table = overview(collect([make_matrix(tmp_path / "m", [(row("a"), Made()), (second, None), (failed, None)])]))
    assert cell(table, "b", "remarks") == "not finished: out of memory"
    assert cell(table, "b", "student clean") == "-"
    assert cell(table, "a", "remarks") == "not finished: no space"
    assert cell(table, "a", "seeds") == "1"


def test_stopped_runs_are_listed_too(tmp_path: Path) -> None:
    make_run(tmp_path / "whole")
    make_unfinished(tmp_path / "half")
    assert "stopped" in cell(overview(collect([tmp_path])), "half", "remarks")


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (None, "-"),
        (Estimate(0.5, 0.25, 0.75, 1, 10), "50.0 [25.0, 75.0]"),
        (Estimate(0.9, 0.7, 1.1, 2, 10), "90.0 [70.0, 100.0]"),
        (Estimate(0.1, -0.2, 0.4, 2, 10), "10.0 [0.0, 40.0]"),
    ],
)
def test_an_interval_ends_where_accuracies_do(found: Estimate | None, shown: str) -> None:
    assert percent(found) == shown


def test_agreement_and_what_a_guarded_teacher_releases_stand_behind_the_accuracies(tmp_path: Path) -> None:
    made = Made(attacked={"pgd": (right(3), right(4))})
    make_run(tmp_path / "a", answered(made, logits(1), logits(2), released=logits(3)))
    make_run(tmp_path / "b", attrs.evolve(answered(made, logits(1), logits(2)), norm="l2", settings={"norm": "l2"}))
    table = overview(collect([tmp_path]))
    assert table.columns[1:8] == (
        *("teacher clean", "student clean", "teacher pgd", "student pgd", "teacher released", "student agreement"),
        "n",
    )
    agreeing = int((logits(1).argmax(dim=1) == logits(2).argmax(dim=1)).sum())
    assert [row[6].split()[0] for row in table.rows] == [f"{100 * agreeing / 40:.1f}"] * 2
    assert sum(row[5] == "-" for row in table.rows) == 1


@pytest.mark.parametrize(
    ("estimate", "unit", "written"),
    [
        (Estimate(1.354, 1.2, 1.5, 3, 40), 1.0, "1.35 [1.20, 1.50]"),
        (Estimate(0.0213, -0.004, 0.03, 3, 40), 0.01, "2.13 [0.00, 3.00]"),
        (None, 1.0, "-"),
    ],
)
def test_what_is_no_accuracy_is_written_in_its_unit(estimate: Estimate | None, unit: float, written: str) -> None:
    assert amount(estimate, unit) == written


@pytest.mark.parametrize(
    ("seeds", "said", "unsaid"),
    [
        ({"a": 1}, "of other seeds it says nothing", "mean over the seeds"),
        ({"a": 2}, "added as squares.", "of one seed"),
        ({"a": 2, "b": 1}, "added as squares; of one seed, that of the images alone.", "of other seeds"),
    ],
)
def test_the_caption_says_what_the_intervals_of_these_runs_are_over(
    tmp_path: Path, seeds: dict[str, int], said: str, unsaid: str
) -> None:
    for name, count in seeds.items():
        for seed in range(count):
            make_run(tmp_path / f"{name}{seed}", Made(seed=seed, settings={"model": {"name": name}}))
    (caption,) = overview(collect([tmp_path])).notes
    assert said in caption
    assert unsaid not in caption


def test_intervals_are_put_into_words() -> None:
    assert intervals_in_words([]) == intervals_in_words([1, 1])
    assert intervals_in_words([3, 1]).endswith("; with one seed, over images alone.")
    assert "one seed" not in intervals_in_words([3, 2])

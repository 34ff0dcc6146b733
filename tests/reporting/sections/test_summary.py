from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.findings.folders import collect
from rcframe.reporting.sections.summary import section, sentences
from tests.findings.folders_made import Made, make_matrix, make_run, right, row
from tests.reporting.runs_made import collected, curved, make_reproduction, measured, student


def test_one_run_is_told_with_its_most_important_numbers(tmp_path: Path) -> None:
    make_run(tmp_path / "run", measured(30))
    told = " ".join(sentences(collect([tmp_path])))
    assert "75.0 [59.8, 85.8]% of 40 clean test images right (seed 0)" in told
    assert "the teacher gets 90.0 [76.9, 96.0]%" in told
    assert "under `pgd:steps=5` at eps 0.1 the student keeps 50.0 [35.2, 64.8]%" in told
    assert told.endswith("No figure carries a warning.")


def test_of_several_attacks_the_worst_case_is_told(tmp_path: Path) -> None:
    told = " ".join(sentences(collected({"a": curved()}, tmp_path)))
    # 12 of 40 images withstand both attacks.
    said = "under the worst of 2 attacks, image by image, at eps 51/255 the student keeps 30.0 [18.1, 45.4]%"
    assert said in told


def test_several_are_told_with_what_differs_and_their_extremes(tmp_path: Path) -> None:
    runs = {str(count): Made(student=right(count), settings=student(temperature=count)) for count in (20, 36, 30)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert told.startswith("3 configurations that differ in student were compared on digits, in 3 runs.")
    assert "highest for `kd:temperature=36`, 90.0 [76.9, 96.0]%" in told
    assert "lowest for `kd:temperature=20`, 50.0 [35.2, 64.8]%" in told


def test_warnings_are_counted_where_they_are_most(tmp_path: Path) -> None:
    runs = {
        "a": Made(flags=("one",), settings=student(temperature=1)),
        "b": Made(flags=("one", "two"), settings=student(temperature=2)),
        "c": Made(settings=student(temperature=3)),
    }
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert "2 of 3 configurations carry warnings, at most 2 (`kd:temperature=2`)" in told


def test_failed_runs_and_verdicts_are_told(tmp_path: Path) -> None:
    told = " ".join(sentences(collect([make_reproduction(tmp_path / "claims")])))
    assert "Of 3 claims of made/table at small scale: 1 holds, 1 does not hold, 1 undecided." in told
    assert "1 run did not finish" in told


def test_the_table_has_failed_runs_with_their_reason(tmp_path: Path) -> None:
    failed = attrs.evolve(row("b"), status="failed", reason="no memory")
    (table,) = section(collect([make_matrix(tmp_path / "m", [(row("a"), Made()), (failed, None)])])).tables
    assert [cells[0] for cells in table.rows] == ["a", "b"]
    assert "no memory" in table.rows[1][-1]

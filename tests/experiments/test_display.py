from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from rcframe.experiments.display import displayed, plan_table
from rcframe.experiments.matrix import MatrixFolder
from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import Plan, make_plan
from rcframe.findings.records import RowRecord, Status


def plan(seeds: int = 1, **document: object) -> Plan:
    return make_plan(parse_matrix({"seeds": seeds, **document}, "My [matrix]", "here"))


def shown(planned: Plan, done: int = 0) -> str:
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as captured:
        console.print(plan_table(planned, done))
    return captured.get()


def cells(text: str) -> list[list[str]]:
    """The rows of a drawn table."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]


def test_a_plan_shows_every_row_once_with_its_seeds_and_the_size_of_it_all() -> None:
    text = shown(plan(seeds=3, vary={"student": ["kd", "plain"], "eval_size": [9]}), done=2)
    assert "My [matrix]" in text
    assert cells(text) == [["1", "kd, eval_size 9", "0, 1, 2"], ["2", "plain, eval_size 9", "0, 1, 2"]]
    assert "6 runs, 2 of them done." in text
    assert (
        "What runs share is computed once: 3 teachers instead of 6, 6 students, 9 measurements instead of 12." in text
    )
    assert "cannot be" not in text


def test_a_plan_says_what_cannot_be_and_why() -> None:
    text = shown(plan(run={"access": "hard"}, vary={"student": ["plain", "kd"]}))
    assert cells(text)[0] == ["1", "plain", "0", ""]
    assert "Student `kd` needs logits" in cells(text)[1][3]
    assert "2 runs, 1 of them cannot be." in text
    assert "computed once: 1 teacher, 1 student, 2 measurements." in text


def test_a_plan_of_very_many_rows_shows_the_first_and_counts_them_all() -> None:
    text = shown(plan(vary={"eval_size": list(range(1, 1244))}))
    rows = cells(text)
    assert len(rows) == 41
    assert rows[39][:2] == ["40", "eval_size 40"]
    assert rows[40][1] == "... and 1203 more"
    assert "1,243 runs." in text


def row(name: str, status: Status, reason: str = "", folder: str = "runs/x") -> RowRecord:
    return RowRecord(name=name, labels={}, seed=4, folder=folder, status=status, reason=reason)


def test_every_run_that_ends_is_a_line(tmp_path: Path) -> None:
    planned = plan(vary={"student": ["plain", "kd"], "eval_size": [1, 2]})
    console = Console(file=io.StringIO(), width=40)
    with (
        console.capture() as captured,
        displayed(planned, MatrixFolder(tmp_path), 1, console, quiet=False) as display,
    ):
        assert display is not None
        display.ended(row("kd", "done"))
        display.ended(row("plain [1/2]", "failed", "No luck, and a reason that is longer than the line."))
    assert captured.get().splitlines() == [
        "[2/4] done: kd, seed 4",
        "[3/4] failed: plain [1/2], seed 4: No luck, and a reason that is longer than the line.",
    ]


def test_nothing_is_shown_of_a_quiet_matrix(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    planned = plan(vary={"student": ["plain"]})
    with console.capture() as captured, displayed(planned, MatrixFolder(tmp_path), 0, console, quiet=True) as display:
        assert display is None
    assert captured.get() == ""


def test_on_a_terminal_a_line_says_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    planned, folder = plan(vary={"student": ["plain", "kd"]}), MatrixFolder(tmp_path)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    first, second = planned.runs
    with displayed(planned, folder, 0, console, quiet=False) as display:
        assert display is not None
        assert "0 of 2 runs ended, 0.0 min. Working: starting" in str(display._line())
        for run in planned.runs:
            folder.run(run).path.mkdir(parents=True)
            folder.run(run).config.touch()
        assert "Working: plain (seed 0); kd (seed 0)" in str(display._line())
        folder.run(first).report.touch()
        assert "Working: kd (seed 0)" in str(display._line())
        display.ended(row("kd", "failed", folder=f"runs/{second.id}"))
        assert str(display._line()).startswith("1 of 2 runs ended, 1 failed, 0.0 min. Working: starting")
        display.ended(row("plain", "done", folder=f"runs/{first.id}"))
        assert str(display._line()).startswith("2 of 2 runs ended, 1 failed, 0.0 min.")

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rcframe.errors import RequestError, RunFailed
from rcframe.findings.folders import collect
from rcframe.findings.tables import Table
from rcframe.reporting import write
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.write import named_tables, refuse_unfinished, refuse_without_libraries, write_report
from tests.findings.folders_made import make_run, make_unfinished
from tests.reporting.runs_made import make_curves

TABLE = Table("Same title", ("a",), (("1",),))


def test_the_page_and_every_table_are_written_and_named(tmp_path: Path) -> None:
    make_curves(make_run(tmp_path / "run"))
    out = tmp_path / "out" / "deep"
    written = list(write_report(collect([tmp_path / "run"]), out, "t"))
    assert sorted(written) == sorted(path for path in out.rglob("*") if path.is_file())
    names = {path.relative_to(out).as_posix() for path in written}
    assert {"report.html", "tables/summary-results.md", "tables/summary-results.csv"} <= names
    assert {"tables/summary-results.tex", "tables/curve-1-teacher-train-loss.csv"} <= names
    with (out / "tables" / "curve-1-teacher-train-loss.csv").open(newline="") as file:
        assert list(csv.reader(file))[:3] == [["epoch", "run"], ["1", "1"], ["2", "0.5"]]


def test_long_tables_are_for_programs_only(tmp_path: Path) -> None:
    make_curves(make_run(tmp_path / "run"), epochs=40)
    written = {path.name for path in write_report(collect([tmp_path / "run"]), tmp_path / "out", "t")}
    assert "curve-1-teacher-train-loss.csv" in written
    assert "curve-1-teacher-train-loss.md" not in written


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    for title in ("first", "second"):
        list(write_report(collect([tmp_path / "run"]), tmp_path / "out", title))
    assert "<title>second</title>" in (tmp_path / "out" / "report.html").read_text()


def test_a_report_in_the_folder_of_its_runs_is_no_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    list(write_report(collect([tmp_path]), tmp_path / "report", "t"))
    assert len(collect([tmp_path]).groups) == 1


def test_tables_of_one_title_do_not_overwrite_each_other() -> None:
    section = Section(
        name="s",
        title="S",
        tables=(TABLE, TABLE),
        folded=(TABLE,),
        exhibits=(Exhibit(name="e", caption="c", data=TABLE), Exhibit(name="x" * 200, caption="c", data=TABLE)),
    )
    assert list(named_tables([section])) == ["s-same-title", "s-same-title-2", "s-same-title-3", "e", "x" * 60]


def test_a_place_that_is_a_file_is_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="Cannot make the folder"):
        list(write_report(collect([tmp_path / "run"]), tmp_path / "file", "t"))


def test_runs_of_which_none_is_finished_are_refused_with_the_reasons(tmp_path: Path) -> None:
    for number in range(7):
        make_unfinished(tmp_path / str(number))
    with pytest.raises(RequestError, match=r"No run there is finished.*stopped.*; and 2 more\."):
        refuse_unfinished(collect([tmp_path]))


def test_missing_libraries_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_without_libraries()
    monkeypatch.setattr(write, "_NEEDED", ("matplotlib", "no_such_library"))
    with pytest.raises(RequestError, match=r"needs no_such_library.*`pip install \"rcframe\[plots\]\"`"):
        refuse_without_libraries()

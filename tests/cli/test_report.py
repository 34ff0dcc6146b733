from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.findings.folders_made import Made, make_matrix, make_run, make_seeds, make_unfinished, right, row


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run."""
    return make_run(tmp_path / "runs" / "one", Made(student=right(30)))


def test_a_report_is_written_beside_the_run_and_its_page_and_tables_are_named(cli: Command, run: Path) -> None:
    done = cli("report", str(run))
    assert (done.code, done.err) == (0, "")
    page, tables = run / "report" / "report.html", run / "report" / "tables"
    count = len({file.stem for file in tables.iterdir()})
    assert done.out.splitlines() == [str(page), f"and {count} tables in {tables}"]
    assert "75.0 [59.8, 85.8]" in page.read_text()


def test_several_folders_make_one_report_where_it_is_wanted(cli: Command, run: Path, tmp_path: Path) -> None:
    make_seeds(tmp_path / "seeds", [Made(seed=seed, settings={"precision": "bf16"}) for seed in (0, 1)])
    done = cli("report", str(run), str(tmp_path / "seeds"), "--out", "out", "--format", "json")
    assert done.code == 0
    rows = json.loads(done.out)["rows"]
    assert sorted(row["seeds"] for row in rows) == ["1", "2"]
    assert "Report on one, seeds" in Path("out/report.html").read_text()


@pytest.mark.parametrize("form", ["csv", "markdown", "latex", "table"])
def test_the_results_alone_go_to_standard_output_in_the_form_that_is_asked_for(
    cli: Command, run: Path, form: str
) -> None:
    done = cli("report", str(run), "--format", form)
    assert done.code == 0
    assert "report.html" in done.err
    assert "report.html" not in done.out
    assert "75.0 [59.8, 85.8]" in done.out
    if form == "csv":
        assert [len(row) for row in csv.reader(io.StringIO(done.out))] == [12, 12]


def test_the_report_of_a_matrix_has_its_title(cli: Command, tmp_path: Path) -> None:
    folder = make_matrix(tmp_path / "m", [(row("a"), Made())])
    assert cli("report", str(folder)).code == 0
    assert "<title>made</title>" in (folder / "report" / "report.html").read_text()


def test_unfinished_runs_are_listed_and_hinder_nothing(cli: Command, run: Path) -> None:
    make_unfinished(run.parent / "half")
    done = cli("report", str(run.parent), "--format", "json")
    assert done.code == 0
    assert any("not finished" in row["remarks"] for row in json.loads(done.out)["rows"])


def test_nothing_but_unfinished_runs_is_refused(cli: Command, tmp_path: Path) -> None:
    make_unfinished(tmp_path / "half")
    done = cli("report", str(tmp_path / "half"))
    assert (done.code, done.out) == (2, "")
    assert "No run there is finished" in done.err
    assert not (tmp_path / "half" / "report").exists()


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_folders_without_runs_are_refused_by_name(cli: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("report", str(tmp_path / name))
    assert done.code == 2
    assert str(tmp_path / name) in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["report.json", "run.toml", "evidence.safetensors"])
def test_damaged_files_are_named(cli: Command, run: Path, name: str) -> None:
    (run / name).write_bytes(b"\x00 { damaged")
    done = cli("report", str(run))
    assert done.code == 2
    assert str(run / name) in done.err
    assert "Traceback" not in done.err


def test_a_missing_library_is_named_before_anything_is_read(
    cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rcframe.reporting.write._NEEDED", ("no_such_library",))
    done = cli("report", str(run))
    assert done.code == 2
    assert 'pip install "rcframe[plots]"' in done.err
    assert len(done.err.splitlines()) == 1


def test_an_unknown_form_and_no_folder_are_refused(cli: Command, run: Path) -> None:
    assert cli("report", str(run), "--format", "pdf").code == 2
    assert cli("report").code == 2


def test_help_needs_neither_torch_nor_the_drawing_library(shell: Command) -> None:
    done = shell("report", "--help")
    assert "without torch" in done.err
    assert "report.html" in done.out

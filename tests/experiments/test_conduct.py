from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from rcframe.errors import RequestError, RunFailed
from rcframe.experiments.conduct import Request, carry_out, conduct
from rcframe.experiments.matrix_file import MatrixFile, parse_matrix
from rcframe.findings.records import read_matrix
from tests.experiments.engines import TINY, Here

if TYPE_CHECKING:
    from tests.conftest import Announce


@pytest.fixture(autouse=True)
def here(announce: Announce, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(Here, "here")
    monkeypatch.setenv("COLUMNS", "300")


def matrix(*students: str, seeds: int = 1, **run: object) -> MatrixFile:
    document = {"title": "Mine", "seeds": seeds, "run": {**TINY, **run}, "vary": {"student": list(students)}}
    return parse_matrix(document, "title", "here")


def request(folder: Path, engine: str = "here") -> Request:
    return Request(folder=folder, engine=engine, command="rcframe matrix mine.toml")


def test_a_matrix_shows_its_plan_how_it_gets_on_and_what_it_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    conduct(matrix("kd", "plain"), request(tmp_path / "m"))
    out, err = capfd.readouterr()
    assert "2 runs." in err
    assert "1 teacher instead of 2, 2 students, 3 measurements instead of 4." in err
    assert "[1/2] done: kd, seed 0\n[2/2] done: plain, seed 0\n" in err
    assert "What the runs found" in out
    assert "│ kd " in out
    assert "│ plain " in out
    assert out.endswith(f"Written to {tmp_path}/m; rcframe report {tmp_path}/m makes a page.\n")
    conduct(matrix("kd", "plain"), request(tmp_path / "m"))
    assert "2 runs, 2 of them done." in capfd.readouterr().err


def test_a_run_that_fails_stands_in_the_table_with_its_reason_and_in_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunFailed, match=r"^1 of 2 runs have no result: `kd` \(seed 0\): No \[luck\]\. What"):
        conduct(matrix("kd", "plain"), request(tmp_path / "m", "here:fails=kd"))
    out, err = capfd.readouterr()
    assert "[1/2] failed: kd, seed 0: No [luck].\n[2/2] done: plain, seed 0\n" in err
    (line,) = [line for line in out.splitlines() if line.startswith("│ kd ")]
    assert "not finished: No [luck]." in line


def test_without_any_result_there_is_no_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunFailed, match="1 of 1 runs have no result"):
        conduct(matrix("kd"), request(tmp_path / "m", "here:fails=kd"))
    assert "What the runs found" not in capfd.readouterr().out


def test_a_matrix_that_is_interrupted_says_how_to_go_on_and_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my matrix"
    with pytest.raises(KeyboardInterrupt) as raised:
        conduct(matrix("kd", "plain"), request(folder, "here:stops=plain"))
    assert raised.value.__notes__ == [f"What was computed is kept in '{folder}'; the same command goes on."]
    assert [row.status for row in read_matrix(folder).rows] == ["done", "waiting"]
    conduct(matrix("kd", "plain"), request(folder))
    assert "2 runs, 1 of them done." in capfd.readouterr().err
    assert [row.status for row in read_matrix(folder).rows] == ["done", "done"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = attrs.evolve(request(tmp_path / "m"), dry_run=True, seeds=2)
    assert carry_out(matrix("kd", "plain"), asked) is None
    conduct(matrix("kd", "plain"), attrs.evolve(asked, quiet=True))
    out, err = capfd.readouterr()
    assert out.count("4 runs.") == 2
    assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_quiet_leaves_the_result_and_a_form_changes_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = attrs.evolve(request(tmp_path / "m"), quiet=True)
    conduct(matrix("kd", "plain"), asked)
    out, err = capfd.readouterr()
    assert err == ""
    assert "What the runs found" in out
    assert "Written to" not in out
    conduct(matrix("kd", "plain"), attrs.evolve(asked, form="json"))
    found = json.loads(capfd.readouterr().out)
    assert [row["run"] for row in found["rows"]] == ["kd", "plain"]


def test_a_request_may_keep_its_work_to_itself(tmp_path: Path, own_cache: Path) -> None:
    carry_out(matrix("plain"), attrs.evolve(request(tmp_path / "m"), share=False, quiet=True))
    assert list(own_cache.rglob("*.safetensors")) == []
    carry_out(matrix("plain"), attrs.evolve(request(tmp_path / "n"), quiet=True))
    assert list(own_cache.rglob("*.safetensors"))


def test_seeds_of_the_request_are_stronger_than_those_of_the_file(tmp_path: Path) -> None:
    record = carry_out(matrix("plain", seeds=3), attrs.evolve(request(tmp_path / "m"), seeds=2, quiet=True))
    assert record is not None
    assert [row.seed for row in record.rows] == [0, 1]
    assert record.command == "rcframe matrix mine.toml"


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("locla", r"No engine named `locla`\. Did you mean `local`\? Installed: "),
        ("here:fail=kd", "Did you mean `fails`"),
        ("local:-1", "must be at least 0"),
    ],
)
def test_an_engine_that_is_not_there_is_refused_before_anything_is_written(
    engine: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=words):
        conduct(matrix("kd"), request(tmp_path / "m", engine))
    assert list(tmp_path.iterdir()) == []

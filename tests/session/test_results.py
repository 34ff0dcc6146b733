from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from rcframe.errors import RequestError
from rcframe.options import Number
from rcframe.session.results import read_result
from rcframe.session.seeds import SeedsReport

if TYPE_CHECKING:
    from tests.session.conftest import MakeReport


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def test_a_report_is_read_back_as_it_was(path: Path, make_report: MakeReport) -> None:
    report = make_report(3, flags=("one", "two"))
    path.write_text(report.to_json())
    again = read_result(path)
    assert again == report
    assert again.to_json() == report.to_json()


def test_numbers_among_the_options_come_back_as_they_were_typed(path: Path, make_report: MakeReport) -> None:
    report = make_report()
    (measured,) = report.student.attacked.values()
    assert measured.protocol is not None
    typed = attrs.evolve(measured, protocol=attrs.evolve(measured.protocol, options={"step_size": Number("2/255")}))
    report = attrs.evolve(report, student=attrs.evolve(report.student, attacked={"pgd": typed}))
    path.write_text(report.to_json())
    again = read_result(path)
    assert again.to_json() == report.to_json()


def test_a_report_of_several_seeds_is_read_back_as_it_was(path: Path, make_report: MakeReport) -> None:
    report = SeedsReport("rcframe run --seeds 2", (make_report(0), make_report(1, clean=5)))
    path.write_text(report.to_json())
    again = read_result(path)
    assert again == report
    assert again.to_json() == report.to_json()


@pytest.mark.parametrize("correct", range(9))
def test_counts_survive_the_fractions_they_are_written_as(correct: int, path: Path, make_report: MakeReport) -> None:
    report = make_report(clean=correct, attacked=correct)
    path.write_text(report.to_json())
    assert read_result(path) == report


def test_a_report_of_a_later_format_is_refused(path: Path, make_report: MakeReport) -> None:
    written = {**json.loads(make_report().to_json()), "format": 2}
    path.write_text(json.dumps(written))
    with pytest.raises(RequestError, match=r"report\.json` was written by a newer rcframe \(format 2\): upgrade"):
        read_result(path)


def without(key: str) -> Any:
    def damage(text: str) -> str:
        written = json.loads(text)
        del written[key]
        return json.dumps(written)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: "3",
        lambda text: text.replace('"clean"', '"cleen"'),
        lambda text: text.replace('"linf"', "7").replace('"8/255"', "[]"),
        without("format"),
        without("seed"),
        without("student"),
        without("queries"),
    ],
    ids=["empty", "half", "a list", "a number", "a name", "a value", "format", "seed", "student", "queries"],
)
def test_a_damaged_report_is_a_sentence(damage: Any, path: Path, make_report: MakeReport) -> None:
    path.write_text(damage(make_report().to_json()))
    with pytest.raises(RequestError, match=r"^The report `.*report\.json` is damaged: "):
        read_result(path)


def test_a_report_that_is_no_text_is_damaged(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="is damaged: UnicodeDecodeError"):
        read_result(path)


def test_a_report_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot read the report `.*report\.json`: No such file"):
        read_result(path)

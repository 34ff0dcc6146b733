from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from rcframe.errors import RequestError
from rcframe.findings.records import (
    ClaimRecord,
    ComparisonRecord,
    MatrixRecord,
    PublishedRecord,
    ReproductionRecord,
    RowRecord,
    read_matrix,
    read_reproduction,
    write_matrix,
    write_reproduction,
)
from rcframe.findings.statistics import Difference

ROWS = (
    RowRecord(name="a", labels={"teacher": "plain", "ratio": "0.5"}, seed=3, folder="runs/a-3", status="done"),
    RowRecord(name="b", labels={}, seed=0, folder="runs/b-0", status="failed", reason="too little memory"),
    RowRecord(name="c", labels={}, seed=0, folder="runs/c-0"),
)
MATRIX = MatrixRecord(title="some", command="rcframe matrix some.toml", axes=("teacher", "ratio"), rows=ROWS)
REPRODUCTION = ReproductionRecord(
    recipe="plugin/table",
    title="some",
    source="a paper, table 1",
    scale="small",
    figures=("student clean", "teacher clean"),
    published=(
        PublishedRecord(row="a", figure="student clean", value=0.91),
        PublishedRecord(row="b", figure="student clean", value=0.92, spread=0.01),
    ),
    claims=(
        ClaimRecord(
            says="a is better than b",
            verdict="undecided",
            comparisons=(
                ComparisonRecord(words="a and b", difference=Difference(0.1, -0.1, 0.3, 3, 100), verdict="undecided"),
                ComparisonRecord(words="a and c", difference=None, verdict="undecided"),
            ),
            note="few images",
        ),
        ClaimRecord(says="nothing", verdict="holds", comparisons=()),
    ),
)


def test_a_matrix_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_matrix(tmp_path, MATRIX)
    assert read_matrix(tmp_path) == MATRIX


def test_an_empty_matrix_is_read_as_it_was_written(tmp_path: Path) -> None:
    empty = attrs.evolve(MATRIX, axes=(), rows=())
    write_matrix(tmp_path, empty)
    assert read_matrix(tmp_path) == empty


def test_a_reproduction_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_reproduction(tmp_path, REPRODUCTION)
    assert read_reproduction(tmp_path) == REPRODUCTION


def test_runs_that_reproduce_nothing_have_no_reproduction(tmp_path: Path) -> None:
    assert read_reproduction(tmp_path) is None


def test_a_matrix_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot read `.*matrix\.json`: No such file"):
        read_matrix(tmp_path)


def test_files_of_a_newer_rcframe_are_refused(tmp_path: Path) -> None:
    write_matrix(tmp_path, MATRIX)
    write_reproduction(tmp_path, REPRODUCTION)
    for name in ("matrix.json", "reproduction.json"):
        path = tmp_path / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(RequestError, match=r"matrix\.json` was written by a newer rcframe \(format 2\): upgrade"):
        read_matrix(tmp_path)
    with pytest.raises(RequestError, match=r"reproduction\.json` was written by a newer rcframe \(format 2\): upgrade"):
        read_reproduction(tmp_path)


def changed(**changes: object) -> str:
    """The text of a matrix whose only row has changes."""
    row = {**attrs.asdict(ROWS[0]), **changes}
    return json.dumps({"format": 1, "title": "", "command": "", "axes": [], "rows": [row]})


DAMAGED = {
    "empty": "",
    "half": '{"format": 1, "title": "so',
    "no text": "\xff\xfe",
    "a list": "[1]",
    "a number": "3",
    "no format": '{"title": ""}',
    "format in words": '{"format": "new"}',
    "no rows": '{"format": 1, "title": "", "command": "", "axes": []}',
    "rows of numbers": '{"format": 1, "title": "", "command": "", "axes": [], "rows": [1]}',
    "another part": '{"format": 1, "title": "", "command": "", "axes": [], "rows": [], "more": 1}',
    "a status nobody knows": changed(status="finished"),
    "labels in a list": changed(labels=["a"]),
    "a seed in words": changed(seed="first"),
    "no folder": changed(folder=None),
    "a folder somewhere else": changed(folder="/etc"),
    "a folder above": changed(folder="runs/../../a"),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_matrix_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "matrix.json").write_text(text, encoding="latin-1")
    with pytest.raises(RequestError, match=r"^`.*matrix\.json` is damaged: .*Give the command that wrote it again\.$"):
        read_matrix(tmp_path)


@pytest.mark.parametrize("part", ["claims", "published", "figures", "recipe"])
def test_a_damaged_reproduction_is_a_sentence(tmp_path: Path, part: str) -> None:
    write_reproduction(tmp_path, REPRODUCTION)
    path = tmp_path / "reproduction.json"
    found = json.loads(path.read_text())
    del found[part]
    path.write_text(json.dumps(found))
    with pytest.raises(RequestError, match=r"^`.*reproduction\.json` is damaged: "):
        read_reproduction(tmp_path)

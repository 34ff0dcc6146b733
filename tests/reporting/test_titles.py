from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.findings.folders import collect
from rcframe.reporting.titles import title_of
from tests.findings.folders_made import Made, make_matrix, make_run, row
from tests.reporting.runs_made import make_reproduction


def titled(*folders: Path) -> str:
    return title_of(collect(folders), folders)


def test_a_matrix_gives_its_title(tmp_path: Path) -> None:
    assert titled(make_matrix(tmp_path / "m", [(row("a"), Made())])) == "made"
    # The folder above holds nothing else.
    assert titled(tmp_path) == "made"


def test_a_reproduction_gives_that_of_what_it_reproduces(tmp_path: Path) -> None:
    assert titled(make_reproduction(tmp_path / "m")) == "A made table"


def test_a_matrix_without_a_title_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = make_matrix(tmp_path / "m", [(row("a"), Made())])
    file = folder / "matrix.json"
    file.write_text(file.read_text().replace('"made"', '" "'))
    assert titled(folder) == "Report on m"


@pytest.mark.parametrize("beside", ["matrix", "run"])
def test_of_several_things_the_folders_are_named(tmp_path: Path, beside: str) -> None:
    first = make_matrix(tmp_path / "first", [(row("a"), Made())])
    other = tmp_path / "other"
    if beside == "matrix":
        make_matrix(other, [(row("b"), Made())])
    else:
        make_run(other)
    assert titled(first, other) == "Report on first, other"
    assert titled(tmp_path) == f"Report on {tmp_path.name}"


def test_many_folders_are_not_all_named(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in "abcd"]
    assert titled(*folders) == "Report on a, b, c and more"

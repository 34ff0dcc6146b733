from __future__ import annotations

from pathlib import Path

from rcframe.findings.folders import collect
from rcframe.reporting.sections.claims import section
from tests.findings.folders_made import Made, make_matrix, make_run, right, row
from tests.reporting.runs_made import column, make_reproduction, sectioned


def test_measured_stands_beside_published_where_that_is_known(tmp_path: Path) -> None:
    beside = sectioned(section(collect([make_reproduction(tmp_path / "m")]))).tables[0]
    assert beside.columns == (
        "run",
        "student clean",
        "student clean, published",
        "student nonzero",
        "student nonzero, published",
    )
    assert beside.rows == (
        ("higher", "90.0 [76.9, 96.0]", "91.20 ± 0.40", "50", "-"),
        ("lower", "50.0 [35.2, 64.8]", "-", "50", "-"),
    )


def test_verdicts_stand_with_their_differences_in_points(tmp_path: Path) -> None:
    found = sectioned(section(collect([make_reproduction(tmp_path / "m")])))
    verdicts = found.tables[1]
    assert column(verdicts, "verdict") == ["holds", "undecided", "does not hold"]
    assert column(verdicts, "difference") == [
        "+40.0 [+25.0, +55.0] (3 seeds, 40 images)",
        "not measured",
        "-10.0 [-20.0, -1.0] (3 seeds, 40 images)",
    ]
    assert "as in the paper, but small" in found.tables[0].notes
    assert any("Too small a scale." in said for said in found.says)
    assert any("Nobody, 2020, table 1" in said for said in found.says)


def test_each_reproduction_shows_its_own_rows_only(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        make_reproduction(tmp_path / folder)
    # Another seed of a row, which the summary takes for one configuration with it.
    make_matrix(tmp_path / "third", [(row("higher", 1), Made(seed=1, student=right(4))), (row("more"), Made())])
    found = sectioned(section(collect([tmp_path])))
    besides = found.tables[0::2]
    assert len(besides) == 2
    for table in besides:
        assert [name.partition(" ")[0] for name in column(table, "run")] == ["higher", "lower"]
        assert column(table, "student clean") == ["90.0 [76.9, 96.0]", "50.0 [35.2, 64.8]"]


def test_runs_that_reproduce_nothing_have_no_claims(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert section(collect([tmp_path])) is None

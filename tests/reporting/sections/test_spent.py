from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rcframe.findings.folders import collect
from rcframe.findings.tables import Table
from rcframe.reporting.sections.spent import section
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import Made, make_run, right
from tests.reporting.runs_made import PGD, collected, column, curved, measured, sectioned, student


def write(folder: Path, seed: int, **counted: object) -> None:
    """Make a run whose student was attacked with these counts."""
    make_run(folder, Made(seed=seed, attacked={PGD: (right(20), right(10))}))
    path = RunFiles(folder).report
    found: dict[str, Any] = json.loads(path.read_text())
    found["student"]["attacked"][PGD] |= counted
    path.write_text(json.dumps(found))


def only(folder: Path) -> Table:
    (table,) = sectioned(section(collect([folder]))).tables
    return table


def test_every_attack_on_every_network_has_a_row(tmp_path: Path) -> None:
    (table,) = sectioned(section(collected({"a": curved()}, tmp_path))).tables
    assert [row[1:3] for row in table.rows] == [
        ("teacher", PGD),
        ("teacher", "fgsm"),
        ("student", PGD),
        ("student", "fgsm"),
    ]
    assert column(table, "images broken") == ["28", "16", "28", "16"]
    assert column(table, "mean linf") == ["0.05"] * 4
    assert column(table, "mean l2") == ["0.5"] * 4
    # 400 images at 10 for each attacked: 40 were attacked, and the curve took 800 passes more.
    assert [column(table, name)[0] for name in ("forward passes", "backward passes", "of the curve besides")] == [
        "10",
        "9",
        "20",
    ]


def test_counts_of_seeds_are_added_passes_averaged_and_distances_weighted_by_images(tmp_path: Path) -> None:
    write(
        tmp_path / "0",
        0,
        broken={"n": 10, "linf": 0.1, "l2": 1.0},
        passes={"forward": 4.0, "backward": 2.0},
        faults={"outside": 3, "broken": 1},
    )
    write(
        tmp_path / "1",
        1,
        broken={"n": 30, "linf": 0.02, "l2": 3.0},
        passes={"forward": 7.0, "backward": 5.0},
        faults={"outside": 0, "broken": 4},
    )
    assert only(tmp_path).rows[0][1:] == ("student", PGD, "40", "0.04", "2.5", "5.5", "3.5", "-", "3", "5")


def test_an_attack_that_broke_nothing_moved_nothing(tmp_path: Path) -> None:
    write(tmp_path / "0", 0, broken={"n": 0, "linf": None, "l2": None}, passes={"forward": 4.0, "backward": 2.0})
    table = only(tmp_path)
    assert [column(table, name) for name in ("images broken", "mean linf", "mean l2")] == [["0"], ["-"], ["-"]]


def test_a_long_table_waits_to_be_opened(tmp_path: Path) -> None:
    runs = {str(heat): curved(student(temperature=heat)) for heat in range(1, 8)}
    found = sectioned(section(collected(runs, tmp_path)))
    assert found.tables == ()
    assert len(found.folded[0].rows) == 28


def test_old_runs_counted_none_of_this(tmp_path: Path) -> None:
    assert section(collected({"a": measured(30)}, tmp_path)) is None

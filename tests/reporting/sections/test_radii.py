from __future__ import annotations

import re
from pathlib import Path

import attrs
import numpy as np
import pytest

from rcframe.findings.folders import Collection, collect
from rcframe.reporting.sections.radii import section
from rcframe.session.evidence import About, write_evidence
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import make_run
from tests.reporting.runs_made import column, measured, rich_evidence, sectioned, student

RADII = np.asarray([0.0, 0.3, 0.1, 0.2, 0.4], np.float32)


def certified(folder: Path, **settings: object) -> Collection:
    made = measured(30, "0.1", settings=settings)
    make_run(folder / "run", made)
    evidence = attrs.evolve(
        rich_evidence(made), radii={About("student", "convex"): RADII, About("teacher", "convex"): RADII}
    )
    write_evidence(RunFiles(folder / "run").evidence, evidence)
    return collect([folder])


def test_radii_are_drawn_in_order_with_their_mean_and_the_eps(tmp_path: Path) -> None:
    exhibits = sectioned(section(certified(tmp_path))).exhibits
    assert [exhibit.name for exhibit in exhibits] == ["radii-teacher-convex", "radii-student-convex"]
    assert [key.name for key in exhibits[1].legend] == ["run", "mean 0.2", "eps 0.1 (measured)"]


def test_a_curve_falls_from_the_largest_radius_to_the_smallest(tmp_path: Path) -> None:
    drawing = sectioned(section(certified(tmp_path))).exhibits[0].drawing
    (curve,) = [
        path
        for path in re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--line-0\); stroke-width: 1.8', drawing)
        if path.count("L") == len(RADII) - 1
    ]
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", curve)]
    # In a drawing, y grows downwards.
    assert points == sorted(points)
    assert sorted(y for _, y in points) == [y for _, y in points]


def test_the_eps_of_training_is_told_from_that_of_measuring(tmp_path: Path) -> None:
    exhibit = sectioned(section(certified(tmp_path, **student(eps="0.05")))).exhibits[0]
    assert [key.name for key in exhibit.legend][-2:] == ["eps 0.1 (measured)", "eps 0.05 (trained)"]


def test_the_data_says_which_radius_each_share_of_images_reaches(tmp_path: Path) -> None:
    data = sectioned(section(certified(tmp_path))).exhibits[0].data
    assert (column(data, "images"), column(data, "mean")) == (["5"], ["0.2"])
    assert float(column(data, "largest")[0]) == pytest.approx(0.4)
    assert float(column(data, "reached by 50%")[0]) == pytest.approx(0.2)
    assert float(column(data, "reached by 100%")[0]) == 0


def test_runs_with_the_same_radii_are_one_line(tmp_path: Path) -> None:
    for place, (eps, part) in enumerate([("0.1", 1.0), ("0.2", 1.0), ("0.3", 0.5)]):
        made, radii = measured(30, eps), RADII * np.float32(part)
        make_run(tmp_path / "runs" / str(place), made)
        evidence = attrs.evolve(rich_evidence(made), radii={About("student", "convex"): radii})
        write_evidence(RunFiles(tmp_path / "runs" / str(place)).evidence, evidence)
    (exhibit,) = sectioned(section(collect([tmp_path]))).exhibits
    lines = [key.name for key in exhibit.legend]
    assert lines[:4] == ["eps 0.1 and 1 more", "eps 0.3", "mean 0.2: eps 0.1 and 1 more", "mean 0.1: eps 0.3"]
    assert len(exhibit.data.rows) == 2


def test_without_radii_there_is_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "a", measured(30))
    assert section(collect([tmp_path])) is None

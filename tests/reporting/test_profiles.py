from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from rcframe.findings.folders import FoundRun
from rcframe.reporting.profiles import profiles
from rcframe.session.evidence import About
from tests.findings.folders_made import IMAGES, Made
from tests.findings.outputs_made import answered, logits
from tests.reporting.runs_made import CLASSES, collected

CLEAN = About("teacher", "clean")


def run(folder: Path, made: Made) -> FoundRun:
    return collected({"a": attrs.evolve(made, classes=CLASSES)}, folder).groups[0].first


def test_the_mean_output_of_each_class_is_a_row(tmp_path: Path) -> None:
    made = answered(Made(), logits(1), logits(2))
    (exhibit,) = profiles(run(tmp_path, made), "teacher", "teacher sly", "profile-1")
    assert exhibit.name == "profile-1"
    assert exhibit.caption == "Mean outputs at temperature 4 for the images of each class, in percent: teacher sly."
    assert exhibit.heat is not None
    assert [row.name for row in exhibit.heat.rows] == list(CLASSES)
    assert exhibit.heat.columns == CLASSES
    shares = np.array([[cell.share for cell in row.cells] for row in exhibit.heat.rows])
    assert shares == pytest.approx(made.profiles[CLEAN], abs=1e-6)
    assert [[cell.good for cell in row.cells] for row in exhibit.heat.rows] == np.eye(4, dtype=bool).tolist()
    assert {cell.count for row in exhibit.heat.rows for cell in row.cells} == {None}
    told = np.array([[float(cell) for cell in row[1:]] for row in exhibit.data.rows])
    assert told == pytest.approx(100 * made.profiles[CLEAN], abs=0.01)


def test_what_is_released_stands_beside_it(tmp_path: Path) -> None:
    made = answered(Made(), logits(1), logits(2), released=logits(3))
    found = list(profiles(run(tmp_path, made), "teacher", "teacher", "p"))
    assert [exhibit.name for exhibit in found] == ["p", "p-released"]
    assert found[1].caption.endswith(": teacher, what it releases.")
    assert len(list(profiles(run(tmp_path / "again", made), "student", "student", "p"))) == 1


def test_a_class_without_images_has_no_row(tmp_path: Path) -> None:
    labels = 2 * (torch.arange(IMAGES) % 2)
    (exhibit,) = profiles(run(tmp_path, answered(Made(), logits(1), logits(2), labels=labels)), "student", "s", "p")
    assert exhibit.heat is not None
    assert [row.name for row in exhibit.heat.rows] == [CLASSES[0], CLASSES[2]]
    assert [[cell.good for cell in row.cells].index(True) for row in exhibit.heat.rows] == [0, 2]


def test_without_evidence_there_is_nothing(tmp_path: Path) -> None:
    assert list(profiles(run(tmp_path, Made(images=None)), "teacher", "t", "p")) == []
    assert list(profiles(run(tmp_path / "b", Made()), "teacher", "t", "p")) == []

from __future__ import annotations

import pytest
import torch

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.reporting.chart import number
from rcframe.reporting.reliability import reliability


def measured() -> Calibration:
    """Four images of confidence 0.98, of which three are right, and two of 0.73, of which one is."""
    sure, unsure = torch.tensor([4.0, 0.0]), torch.tensor([1.0, 0.0])
    labels = torch.tensor([0, 0, 0, 1, 0, 1])
    found = Calibration.of(torch.stack([sure] * 4 + [unsure] * 2), labels, 0)
    assert found is not None
    return found


def test_each_bin_with_images_has_its_bars_and_its_row() -> None:
    exhibit = reliability(measured(), "student kd", "reliability-2")
    assert exhibit.name == "reliability-2"
    assert exhibit.caption == "How often right, and how sure, by confidence: student kd."
    assert [key.name for key in exhibit.legend] == ["right", "mean confidence"]
    assert [row[:3] for row in exhibit.data.rows] == [("67 to 73%", "2", "50"), ("93 to 100%", "4", "75")]
    low, high = Accuracy(3, 4).interval
    assert exhibit.data.rows[1][3:5] == (number(100 * low), number(100 * high))
    assert float(exhibit.data.rows[1][5]) == pytest.approx(98.2, abs=0.01)


def test_the_counts_stand_in_the_drawing() -> None:
    drawing = reliability(measured(), "student", "r").drawing
    assert "(n 4)" in drawing
    assert "(n 2)" in drawing

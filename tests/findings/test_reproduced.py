from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.findings.folders import collect
from rcframe.findings.records import ComparisonRecord, PublishedRecord, ReproductionRecord
from rcframe.findings.reproduced import beside, difference_of
from rcframe.findings.statistics import Difference
from tests.findings.folders_made import Made, make_matrix, row
from tests.findings.outputs_made import answered, logits


@pytest.mark.parametrize(
    ("difference", "unit", "written"),
    [
        (Difference(0.0123, -0.004, 0.05, 3, 1450), 0.01, "+1.2 [-0.4, +5.0] (3 seeds, 1,450 images)"),
        (Difference(-0.5, -0.5, -0.5, 1, 0), 0.01, "-50.0 [-50.0, -50.0] (1 seed)"),
        (Difference(-12345, -12345, 1200, 2, 0), 1.0, "-12,345 [-12,345, +1,200] (2 seeds)"),
        (Difference(1.25, 1.0, 1.5, 2, 40), 1.0, "+1.25 [+1.00, +1.50] (2 seeds, 40 images)"),
        (None, 0.01, "not measured"),
    ],
)
def test_a_difference_is_written_with_what_it_rests_on(
    difference: Difference | None, unit: float, written: str
) -> None:
    compared = ComparisonRecord(words="a and b", difference=difference, verdict="undecided", unit=unit)
    assert difference_of(compared) == written


def test_peaks_and_calibration_errors_stand_beside_the_published_ones(tmp_path: Path) -> None:
    made = answered(Made(), logits(1), logits(2))
    make_matrix(tmp_path / "m", [(row("one"), made)])
    figures = ("student peaks", "student calibration error", "student bytes")
    record = ReproductionRecord(
        recipe="made/table",
        title="Made",
        source="Nobody",
        scale="paper",
        figures=figures,
        published=tuple(
            PublishedRecord(row="one", figure=figure, value=value, spread=spread)
            for figure, value, spread in zip(figures, (2.5, 0.031, 400.0), (0.25, None, None), strict=True)
        ),
        claims=(),
    )
    (cells,) = beside(record, collect([tmp_path]).groups).rows
    outputs = made.outputs["student"]
    assert outputs.softness
    assert outputs.calibration
    assert cells[1].startswith(f"{outputs.softness.peaks.value:.2f} [")
    assert cells[2] == "2.50 ± 0.25"
    assert cells[3].startswith(f"{100 * outputs.calibration.error.value:.1f} [")
    assert cells[4:] == ("3.10", "200", "400")

from __future__ import annotations

import pytest

from rcframe.findings.records import ComparisonRecord
from rcframe.findings.reproduced import difference_of
from rcframe.findings.statistics import Difference


@pytest.mark.parametrize(
    ("difference", "unit", "written"),
    [
        (Difference(0.0123, -0.004, 0.05, 3, 1450), 0.01, "+1.2 [-0.4, +5.0] (3 seeds, 1,450 images)"),
        (Difference(-0.5, -0.5, -0.5, 1, 0), 0.01, "-50.0 [-50.0, -50.0] (1 seed)"),
        (Difference(-12345, -12345, 1200, 2, 0), 1.0, "-12,345 [-12,345, +1,200] (2 seeds)"),
        (None, 0.01, "not measured"),
    ],
)
def test_a_difference_is_written_with_what_it_rests_on(
    difference: Difference | None, unit: float, written: str
) -> None:
    compared = ComparisonRecord(words="a and b", difference=difference, verdict="undecided", unit=unit)
    assert difference_of(compared) == written

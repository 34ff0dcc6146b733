from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import torch

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.session.outputs_report import Outputs, outputs_as_json, outputs_from_json

LABELS = torch.tensor([0, 1, 1, 0, 2])
LOGITS = 3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
OTHERS = 3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(2))


def full() -> Outputs:
    return Outputs(
        calibration=Calibration.of(LOGITS, LABELS, 0),
        softness=Softness.of(LOGITS, 4.0),
        released=Softness.of(OTHERS, 4.0),
        likeness=Likeness.of(LOGITS, OTHERS, LABELS),
    )


def written(outputs: Outputs) -> dict[str, Any]:
    """What a file gives back; what JSON cannot say is refused."""
    found: dict[str, Any] = json.loads(json.dumps(outputs_as_json(outputs), allow_nan=False))
    return found


def test_everything_comes_back() -> None:
    assert outputs_from_json(written(full())) == full()


@pytest.mark.parametrize("part", [field.name for field in attrs.fields(Outputs)])
def test_any_part_may_be_missing(part: str) -> None:
    less = attrs.evolve(full(), **{part: None})
    assert part not in written(less)
    assert outputs_from_json(written(less)) == less


def test_older_reports_say_nothing_of_outputs() -> None:
    assert outputs_from_json({}) == Outputs()
    assert written(Outputs()) == {}


def test_a_teacher_without_mistakes_and_outputs_without_numbers_can_be_written() -> None:
    sure = 9 * torch.eye(3)[LABELS]
    faultless = Outputs(likeness=Likeness.of(LOGITS, sure, LABELS))
    broken = Outputs(likeness=Likeness.of(torch.full_like(LOGITS, torch.nan), sure, LABELS))
    for outputs in (faultless, broken):
        assert outputs_from_json(written(outputs)) == outputs
    assert written(broken)["likeness"]["divergence"] is None


def test_fractions_stand_with_their_counts_and_intervals() -> None:
    likeness = full().likeness
    assert likeness is not None
    low, high = likeness.agreement.interval
    assert written(full())["likeness"]["agreement"] == {
        "accuracy": likeness.agreement.value,
        "n": 5,
        "low": low,
        "high": high,
    }
    assert set(written(full())["calibration"]["error"]) == {"value", "low", "high", "n"}

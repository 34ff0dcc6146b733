from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import torch

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.session.outputs_report import Outputs, about_agreement, outputs_as_json, outputs_from_json

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


def likeness(agreed: int, blind: int) -> Likeness:
    of = (Accuracy(agreed, 100), Accuracy(0, 0), Accuracy(blind, 100))
    return Likeness(agreement=of[0], among_mistakes=of[1], divergence=None, blind=of[2])


def test_reports_from_before_a_baseline_was_counted_have_none() -> None:
    older = written(full())
    del older["likeness"]["blind"]
    found = outputs_from_json(older).likeness
    assert found is not None
    assert found.blind is None
    assert about_agreement([found]) == ""


def test_agreement_that_takes_no_look_is_remarked_on() -> None:
    assert about_agreement([likeness(100, 100)]) == (
        "A student that always names the class which the teacher names most would agree on 100.0% of the images: "
        "agreement is no sign of imitation."
    )
    assert about_agreement([likeness(90, 12), likeness(40, 35), likeness(40, 38)]) == (
        "In 2 of 3 runs a student that always names the class which the teacher names most would agree on 28.3% of the "
        "images: agreement is no sign of imitation there."
    )


@pytest.mark.parametrize(
    "found",
    [[], [likeness(90, 12)], [likeness(0, 0)], [likeness(0, 30)]],
    ids=["none", "imitation", "no numbers", "never"],
)
def test_other_agreement_is_not_remarked_on(found: list[Likeness]) -> None:
    assert about_agreement(found) == ""

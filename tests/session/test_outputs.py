from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import Generator, Tensor

from rcframe.api import Component
from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.guarding import GuardedTeacher
from rcframe.options import component
from rcframe.session.assemble import Parts, build_parts
from rcframe.session.config import make_config
from rcframe.session.outcomes import Outcome, Outcomes
from rcframe.session.outputs import outputs_of, temperature_of
from rcframe.session.outputs_report import Outputs

LABELS = torch.tensor([0, 1, 1, 0])
LOGITS = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [1.0, 0.0]])
OTHERS = torch.tensor([[0.0, 4.0], [0.0, 4.0], [4.0, 0.0], [0.0, 1.0]])


def found(logits: Tensor | None, released: Tensor | None = None) -> Outcomes:
    right = torch.zeros(len(LABELS), dtype=torch.bool)
    return Outcomes(
        labels=LABELS,
        clean=Outcome(right=right, logits=logits),
        released=None if released is None else Outcome(right=right, logits=released),
    )


def parts(teacher: str, student: str | list[str]) -> Parts:
    return build_parts(make_config({"teacher": teacher, "student": student}))


@component
class Passing(GuardedTeacher):
    """A defence that does nothing."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits


# -- temperature ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        ("plain", "plain", 4.0),
        ("plain", "kd:temperature=8", 8.0),
        ("nasty:temperature=20", "plain", 20.0),
        ("nasty:temperature=20", "kd:temperature=20", 20.0),
        ("nasty:temperature=20", "kd:temperature=8", 4.0),
        ("plain", ["kd:temperature=2", "plain"], 2.0),
        ("plain", ["kd:temperature=2", "kd:temperature=3"], 4.0),
    ],
)
def test_the_temperature_is_that_of_the_parts_if_they_agree(
    teacher: str, student: str | list[str], expected: float
) -> None:
    assert temperature_of(parts(teacher, student)) == expected


def test_the_temperature_of_a_teacher_behind_a_defence_counts() -> None:
    guarded = attrs.evolve(parts("plain", "plain"), teacher=Passing(teacher="nasty:temperature=9"))
    assert temperature_of(guarded) == 9.0
    assert isinstance(guarded.teacher, Component)


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_everything_is_measured_on_the_answers_that_were_kept() -> None:
    got = outputs_of(found(LOGITS), found(OTHERS), 2.0, 7)
    assert got.calibration == Calibration.of(LOGITS, LABELS, 7)
    assert got.softness == Softness.of(LOGITS, 2.0)
    assert got.likeness == Likeness.of(LOGITS, OTHERS, LABELS)
    assert got.released is None


def test_a_teacher_is_like_nobody() -> None:
    assert outputs_of(found(LOGITS), None, 2.0, 7).likeness is None


def test_what_is_released_is_softened_too() -> None:
    sparse = LOGITS.masked_fill(LOGITS == 0, -math.inf)
    got = outputs_of(found(LOGITS, sparse), None, 2.0, 7)
    assert got.softness == Softness.of(LOGITS, 2.0)
    assert got.released is not None
    assert got.released.entropy.value == 0


def test_likeness_is_that_to_the_network_whatever_it_releases() -> None:
    got = outputs_of(found(LOGITS), found(LOGITS, OTHERS), 2.0, 7)
    assert got.likeness is not None
    assert got.likeness.agreement.correct == len(LABELS)


def test_without_answers_nothing_is_known() -> None:
    assert outputs_of(found(None), found(LOGITS), 2.0, 7) == Outputs()
    assert outputs_of(found(LOGITS), found(None), 2.0, 7).likeness is None

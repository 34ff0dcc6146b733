"""Made runs whose networks answered: with logits of a test's choice, measured as real runs measure them."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import Tensor

from rcframe.evaluation.evaluate import named
from rcframe.evaluation.likeness import agreeing
from rcframe.evaluation.softness import peaks, probabilities, profile
from rcframe.session.evidence import About
from rcframe.session.outcomes import Outcome, Outcomes
from rcframe.session.outputs import outputs_of
from tests.findings.folders_made import IMAGES, Made


def logits(seed: int, classes: int = 4, sharpness: float = 4.0) -> Tensor:
    """Outputs (images, classes) of a network that knows nothing."""
    return sharpness * torch.randn(IMAGES, classes, generator=torch.Generator().manual_seed(seed))


def answered(
    made: Made,
    teacher: Tensor,
    student: Tensor,
    *,
    released: Tensor | None = None,
    labels: Tensor | None = None,
    temperature: float = 4.0,
) -> Made:
    """Return a made run whose networks gave these outputs (images, classes)."""
    truth = teacher.argmax(dim=1) if labels is None else labels
    of_teacher, of_student = (_outcomes(output, truth) for output in (teacher, student))
    kept = {About("teacher", "clean"): teacher, About("student", "clean"): student}
    if released is not None:
        of_teacher.released = _outcome(released, truth)
        kept[About("teacher", "released")] = released
    softened = {about: probabilities(output, temperature) for about, output in kept.items()}
    classes = tuple(f"class {number}" for number in range(teacher.shape[1]))
    return attrs.evolve(
        made,
        classes=made.classes if len(made.classes) == len(classes) else classes,
        teacher=of_teacher.clean.right.numpy(),
        student=of_student.clean.right.numpy(),
        outputs={
            "teacher": outputs_of(of_teacher, None, temperature, 0),
            "student": outputs_of(of_student, of_teacher, temperature, 0),
        },
        agreement=agreeing(student, teacher).numpy(),
        released=None if of_teacher.released is None else of_teacher.released.right.numpy(),
        peaks={about: peaks(output).numpy().astype(np.int16) for about, output in softened.items()},
        profiles={about: profile(output, truth).float().numpy() for about, output in softened.items()},
    )


def _outcomes(output: Tensor, truth: Tensor) -> Outcomes:
    return Outcomes(labels=truth, clean=_outcome(output, truth))


def _outcome(output: Tensor, truth: Tensor) -> Outcome:
    return Outcome(right=named(output) == truth, logits=output)

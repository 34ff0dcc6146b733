"""What the outputs of both networks of a run give away, from the answers that were kept of the measured images."""

from __future__ import annotations

from torch import Tensor

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.options import values_of
from rcframe.session.assemble import Parts
from rcframe.session.outcomes import Outcome, Outcomes
from rcframe.session.outputs_report import Outputs

#: Where the parts of a run name no temperature, or several.
TEMPERATURE = 4.0


def temperature_of(parts: Parts) -> float:
    """Return the temperature that the teacher and the students of a run are set to, if they agree on one; else 4."""
    asked = [part for each in (parts.teacher, *parts.students) for part in (each, *each.parts())]
    found = {values_of(part).get("temperature") for part in asked} - {None}
    numbers = [float(one) for one in found if isinstance(one, int | float)]
    return numbers[0] if len(found) == len(numbers) == 1 else TEMPERATURE


def outputs_of(found: Outcomes, teacher: Outcomes | None, temperature: float, seed: int) -> Outputs:
    """Measure what was kept of a network; `teacher` is what was found of the teacher of a student."""
    logits = found.clean.logits
    if logits is None:
        return Outputs()
    return Outputs(
        calibration=Calibration.of(logits, found.labels, seed),
        softness=Softness.of(logits, temperature),
        released=_softness(found.released, temperature),
        likeness=_likeness(logits, teacher, found.labels),
    )


def _softness(outcome: Outcome | None, temperature: float) -> Softness | None:
    return None if outcome is None or outcome.logits is None else Softness.of(outcome.logits, temperature)


def _likeness(logits: Tensor, teacher: Outcomes | None, labels: Tensor) -> Likeness | None:
    theirs = None if teacher is None else teacher.clean.logits
    return None if theirs is None else Likeness.of(logits, theirs, labels)

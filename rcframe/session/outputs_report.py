"""What a report says of the outputs of a network, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.calibration import Bin, Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.session.measurement import Json, accuracy_as_json, accuracy_of


@attrs.frozen
class Outputs:
    """What the outputs of one network give away; None for what was not measured. Added in API 1.4."""

    calibration: Calibration | None = None
    softness: Softness | None = None
    #: The softness of what leaves in the place of a guarded teacher's answers.
    released: Softness | None = None
    #: How much a student answers like the teacher's network.
    likeness: Likeness | None = None


def about_agreement(found: Sequence[Likeness]) -> str:
    """Say if students of one or several runs agree no more often than one that never looks; else nothing.

    Nor is anything said of students that never agree, which nobody takes for imitation.
    """
    known = [one for one in found if one.blind]
    idle = [one for one in known if one.agreement.correct and not one.says_something]
    if not idle:
        return ""
    start, there = (
        ("A student", "") if len(found) == 1 else (f"In {len(idle)} of {len(found)} runs a student", " there")
    )
    # The mean of all runs, as the page of a report has it.
    blind = math.fsum(one.blind.value for one in known if one.blind) / len(known)
    return (
        f"{start} that always names the class which the teacher names most would agree on {100 * blind:.1f}% of "
        f"the images: agreement is no sign of imitation{there}."
    )


def outputs_as_json(outputs: Outputs) -> dict[str, object]:
    """Return the JSON object; what was not measured is left out."""
    written: dict[str, object] = {}
    for name, part in (("softness", outputs.softness), ("released", outputs.released)):
        if part is not None:
            written[name] = attrs.asdict(part)
    if outputs.calibration is not None:
        # A list, as it is read again.
        bins = list(map(attrs.asdict, outputs.calibration.bins))
        written["calibration"] = {**attrs.asdict(outputs.calibration), "bins": bins}
    if outputs.likeness is not None:
        written["likeness"] = _likeness_as_json(outputs.likeness)
    return written


def _likeness_as_json(likeness: Likeness) -> dict[str, object]:
    blind = {} if likeness.blind is None else {"blind": attrs.asdict(likeness.blind)}
    return {
        "agreement": accuracy_as_json(likeness.agreement),
        # Of a teacher without mistakes there is no fraction.
        "among_mistakes": attrs.asdict(likeness.among_mistakes),
        "divergence": None if likeness.divergence is None else attrs.asdict(likeness.divergence),
        **blind,
    }


def outputs_from_json(found: Json) -> Outputs:
    """Build what `outputs_as_json` was given; older reports have none of it."""
    return Outputs(
        calibration=_calibration_of(found["calibration"]) if "calibration" in found else None,
        softness=_softness_of(found["softness"]) if "softness" in found else None,
        released=_softness_of(found["released"]) if "released" in found else None,
        likeness=_likeness_of(found["likeness"]) if "likeness" in found else None,
    )


def _calibration_of(found: Json) -> Calibration:
    return Calibration(
        error=Amount(**found["error"]),
        by_chance=found["by_chance"],
        confidence=Amount(**found["confidence"]),
        brier=Amount(**found["brier"]),
        bins=tuple(Bin(**one) for one in found["bins"]),
    )


def _softness_of(found: Json) -> Softness:
    return Softness(
        temperature=found["temperature"],
        entropy=Amount(**found["entropy"]),
        peaks=Amount(**found["peaks"]),
        margin=Amount(**found["margin"]),
    )


def _likeness_of(found: Json) -> Likeness:
    return Likeness(
        agreement=accuracy_of(found["agreement"]),
        among_mistakes=Accuracy(**found["among_mistakes"]),
        divergence=None if found["divergence"] is None else Amount(**found["divergence"]),
        blind=Accuracy(**found["blind"]) if "blind" in found else None,
    )

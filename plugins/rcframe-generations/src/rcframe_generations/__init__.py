"""Students that learn from networks like themselves, and the control without a teacher, for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="student",
            name="born-again",
            target="rcframe_generations.born_again:BornAgain",
            summary="Learns from a network like itself that learned from the teacher (Furlanello et al., 2018).",
        ),
        Spec(
            kind="student",
            name="label-smoothing",
            target="rcframe_generations.smoothing:LabelSmoothing",
            summary="Learns from smoothed labels, without a teacher: a control (Szegedy et al., 2016).",
        ),
    ]

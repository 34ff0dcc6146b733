"""Knowledge distillation for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="student",
            name="kd",
            target="rcframe_distill.student:KD",
            summary="Learns from labels and from the teacher's softened outputs (Hinton et al., 2015).",
        ),
    ]

"""Students that try to learn from teachers that mislead, for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="student",
            name="htc",
            target="rcframe_counterattacks.htc:HTC",
            summary="Learns from a nasty teacher's hot outputs mixed with labels; inspired by Jandial et al. (2022).",
        ),
        Spec(
            kind="student",
            name="scm",
            target="rcframe_counterattacks.scm:SCM",
            summary="Learns from a nasty teacher through a sequence of students; inspired by Jandial et al. (2022).",
        ),
    ]

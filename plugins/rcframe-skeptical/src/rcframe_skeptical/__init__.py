"""Skeptical students for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="student",
            name="skeptical",
            target="rcframe_skeptical.student:Skeptical",
            summary="Lets the teacher in at a shallow head only and trusts itself deeper (Kundu et al., 2021).",
        ),
    ]

"""Undistillable teachers for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="teacher",
            name="nasty",
            target="rcframe_nasty.teacher:Nasty",
            summary="Keeps its accuracy and misleads students that imitate it (Ma et al., 2021).",
        ),
    ]

"""Teachers of several networks, for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="teacher",
            name="ensemble",
            target="rcframe_ensemble.teacher:EnsembleTeacher",
            summary="Several networks, each trained as another teacher is, that answer together.",
        ),
        Spec(
            kind="model",
            name="ensemble",
            target="rcframe_ensemble.model:EnsembleModel",
            summary="Several networks that answer together, untrained.",
        ),
    ]

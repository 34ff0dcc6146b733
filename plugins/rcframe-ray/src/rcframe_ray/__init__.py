"""The engine `ray`. This module is imported to list names, so it imports neither torch nor ray."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce the engine."""
    return [
        Spec(
            kind="engine",
            name="ray",
            target="rcframe_ray.engine:RayEngine",
            summary="Tasks of a Ray cluster, or of a Ray instance started for them on this machine.",
            api=1,
        )
    ]

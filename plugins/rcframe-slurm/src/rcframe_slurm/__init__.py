"""The engine `slurm`. This module is imported to list names, so it imports neither torch nor submitit."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce the engine."""
    return [
        Spec(
            kind="engine",
            name="slurm",
            target="rcframe_slurm.engine:SlurmEngine",
            summary="Jobs of a Slurm cluster.",
            api=1,
        )
    ]

"""Gradient attacks for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="fgsm",
            target="rcframe_attacks.fgsm:FGSM",
            summary="One step along the sign of the input gradient (Goodfellow et al., 2015).",
        ),
        Spec(
            kind="attack",
            name="pgd",
            target="rcframe_attacks.pgd:PGD",
            summary="Projected gradient steps with random start and restarts (Madry et al., 2018).",
        ),
    ]

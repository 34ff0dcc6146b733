"""Attacks for rcframe that see only scores or labels."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="nes",
            target="rcframe_blackbox.nes:NES",
            summary="Projected steps along gradients estimated from scores of random neighbours (Ilyas et al., 2018).",
        ),
        Spec(
            kind="attack",
            name="spsa",
            target="rcframe_blackbox.spsa:SPSA",
            summary="Adam on gradients estimated from scores of random corners (Uesato et al., 2018).",
        ),
        Spec(
            kind="attack",
            name="hopskipjump",
            target="rcframe_blackbox.hopskipjump:HopSkipJump",
            summary="Walks along the decision boundary towards the image, by labels alone (Chen et al., 2020).",
        ),
    ]

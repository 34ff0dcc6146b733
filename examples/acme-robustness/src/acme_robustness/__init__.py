"""A blurring attack and label smoothing, for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="blur",
            target="acme_robustness.blur:Blur",
            summary="Blurs images as far as the threat allows.",
        ),
        Spec(
            kind="student",
            name="smooth-labels",
            target="acme_robustness.smoothing:SmoothLabels",
            summary="Learns from smoothed labels without a teacher.",
        ),
    ]

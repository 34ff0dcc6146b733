"""Attacks for rcframe that look for the nearest misclassified image."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="cw",
            target="rcframe_minimal.cw:CW",
            summary="The nearest misclassified image in l2, by Adam and a search over c (Carlini & Wagner, 2017).",
        ),
        Spec(
            kind="attack",
            name="deepfool",
            target="rcframe_minimal.deepfool:DeepFool",
            summary="Steps onto the nearest boundary of a linearised network (Moosavi-Dezfooli et al., 2016).",
        ),
    ]

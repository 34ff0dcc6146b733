"""AutoAttack for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="auto",
            target="rcframe_autoattack.auto:Auto",
            summary="Four attacks in turn, each on what the ones before left standing (Croce and Hein, 2020).",
        ),
        Spec(
            kind="attack",
            name="apgd-ce",
            target="rcframe_autoattack.apgd:APGDCE",
            summary="Projected gradient steps on cross-entropy that choose their own size (Croce and Hein, 2020).",
        ),
        Spec(
            kind="attack",
            name="apgd-t",
            target="rcframe_autoattack.apgd:APGDT",
            summary="The same towards each likely class in turn, on a ratio of logits (Croce and Hein, 2020).",
        ),
        Spec(
            kind="attack",
            name="fab-t",
            target="rcframe_autoattack.fab:FABT",
            summary="The nearest image across the boundary to each likely class (Croce and Hein, 2020).",
        ),
        Spec(
            kind="attack",
            name="square",
            target="rcframe_autoattack.square:Square",
            summary="Random squares, kept where they lower the margin; logits only (Andriushchenko et al., 2020).",
        ),
    ]

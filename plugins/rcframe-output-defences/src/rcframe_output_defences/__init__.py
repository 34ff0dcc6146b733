"""Teachers that guard their outputs, for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="teacher",
            name="stingy",
            target="rcframe_output_defences.stingy:Stingy",
            summary="Lets out its largest logits only (Ma et al., 2022).",
        ),
        Spec(
            kind="teacher",
            name="noisy",
            target="rcframe_output_defences.noisy:Noisy",
            summary="Adds noise to its logits or probabilities.",
        ),
        Spec(
            kind="teacher",
            name="rounded",
            target="rcframe_output_defences.rounded:Rounded",
            summary="Rounds its logits or probabilities.",
        ),
    ]

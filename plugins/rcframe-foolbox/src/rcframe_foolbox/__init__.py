"""The attacks of foolbox for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="foolbox",
            target="rcframe_foolbox.bridge:Foolbox",
            summary="Any attack of the library foolbox by its name (Rauber et al., 2017).",
        )
    ]

"""Plugin of rcframe: certificates from the convex outer adversarial polytope."""

from __future__ import annotations

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce the certifier `convex`."""
    return [
        Spec(
            kind="certifier",
            name="convex",
            target="rcframe_convex.certifier:Convex",
            summary="Lower bounds on margins of ReLU networks by the dual of their convex relaxation.",
        )
    ]

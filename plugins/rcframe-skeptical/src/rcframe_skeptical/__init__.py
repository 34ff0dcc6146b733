"""Skeptical students for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="student",
            name="skeptical",
            target="rcframe_skeptical.student:Skeptical",
            summary="Lets the teacher in at a shallow head only and trusts itself deeper (Kundu et al., 2021).",
        ),
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    return [files(__name__) / "recipes" / "cifar10.toml"]

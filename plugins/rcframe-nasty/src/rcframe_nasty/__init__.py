"""Undistillable teachers for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl

_RECIPES = ("cifar10", "cifar100", "tiny-imagenet", "adversaries", "large-students", "softness", "limited-data")


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="teacher",
            name="nasty",
            target="rcframe_nasty.teacher:Nasty",
            summary="Keeps its accuracy and misleads students that imitate it (Ma et al., 2021).",
        ),
        Spec(
            kind="model",
            name="deepened",
            target="rcframe_nasty.deepened:Deepened",
            summary="Another network with one more linear layer before its last one.",
        ),
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    return [files(__name__) / "recipes" / f"{name}.toml" for name in _RECIPES]

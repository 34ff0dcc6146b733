"""Skeptical students for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl

_RECIPES = ("cifar10", "cifar100", "tiny-imagenet", "generations", "depth", "limited-data")


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
        Spec(
            kind="student",
            name="skeptical-e",
            target="rcframe_skeptical.student:SkepticalEnsemble",
            summary="The same with its heads kept: answers with the mean of all of them (Kundu et al., 2021).",
        ),
        Spec(
            kind="student",
            name="self",
            target="rcframe_skeptical.own_teacher:OwnTeacher",
            summary="Is its own teacher: its end teaches heads in its middle (Zhang et al., 2019).",
        ),
        Spec(
            kind="model",
            name="headed",
            target="rcframe_skeptical.headed:Headed",
            summary="Another network with heads in its middle, which answers with the mean of all of them.",
        ),
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    return [files(__name__) / "recipes" / f"{name}.toml" for name in _RECIPES]

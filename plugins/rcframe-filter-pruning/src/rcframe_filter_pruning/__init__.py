"""Removal of whole convolution filters for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="pruner",
            name="filters",
            target="rcframe_filter_pruning.pruner:Filters",
            summary="Removes the filters with the smallest absolute weights (Li et al., 2017).",
        ),
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    return [files(__name__) / "recipes" / "shallow.toml"]

"""Removal of whole convolution filters for rcframe."""

from __future__ import annotations

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

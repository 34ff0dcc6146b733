"""Spiking neurons for rcframe: leaky integrate-and-fire, in the four orders that published code uses."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce the neuron `lif`."""
    return [
        Spec(
            kind="neuron",
            name="lif",
            target="rcframe_spiking.neuron:LIF",
            summary="Leaky integrate-and-fire neurons whose thresholds and leaks are trained too.",
        )
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published table that this plugin repeats."""
    return [files(__name__) / "recipes" / "white-and-black-box.toml"]

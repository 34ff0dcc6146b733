"""Taps: named places inside a network whose activations can be read.

A network lists its natural depths in an attribute `taps`, shallowest first; each is the name of a submodule. A network
without that attribute can still be tapped at any submodule by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rcframe.errors import RequestError, listed, nearest
from rcframe.networks.modes import evaluating


def taps_of(module: nn.Module) -> tuple[str, ...]:
    """List the natural tap depths of a network, shallowest first; none if it names none."""
    return tuple(getattr(module, "taps", ()))


def find_tap(module: nn.Module, name: str, *, option: str = "", whose: str = "network") -> nn.Module:
    """Return the submodule called `name`, or refuse with the nearest name and those that exist.

    `option` is the one by which a user named it, `whose` says which network this is, such as `student`; both since
    API 1.4.
    """
    try:
        # The empty name is the network itself, which nobody means who names a layer.
        return module.get_submodule(name or " ")
    except AttributeError:
        owner = f"In the option `{option}`: the {whose}" if option else f"The {whose}"
        raise RequestError(f"{owner} has no layer `{name}`.{_existing(module, name)}") from None


def _existing(module: nn.Module, wanted: str) -> str:
    """Say which layer is nearest to `wanted`, a tap if one is near, and which there are."""
    taps, layers = taps_of(module), [name for name, _ in module.named_modules() if name]
    near = nearest(wanted, taps) or nearest(wanted, layers)
    return f"{near} Its taps: {listed(taps)}." if taps else f"{near} It names no taps; its layers: {listed(layers)}."


class Features(dict[str, Tensor]):
    """Activations by tap name, (B, ...) each."""

    def __missing__(self, name: str) -> Tensor:
        raise RequestError(f"Layer `{name}` of the network did not run, so it has no output to read: name another tap.")


@contextmanager
def recording(module: nn.Module, names: Sequence[str]) -> Iterator[Features]:
    """Record the outputs of the named submodules during forward passes of `module`.

    A layer that runs several times in one pass (once per time step of a spiking network) is recorded as the mean of
    its outputs. Call `clear` on the result between passes.
    """
    features = Features()
    counts: dict[str, int] = {}

    def keep(name: str, output: Tensor) -> None:
        if name in features:
            counts[name] += 1
            features[name] = features[name] + (output - features[name]) / counts[name]
        else:
            # A copy: a layer that works in place, such as nn.ReLU(inplace=True), may overwrite the output next.
            features[name], counts[name] = output.clone(), 1

    hooks = [
        find_tap(module, name).register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def tap_shapes(module: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tap without its batch dimension, by running `x` (B, C, H, W) once."""
    with evaluating(module), torch.no_grad(), recording(module, names) as features:
        module(x)
    return {name: tuple(features[name].shape[1:]) for name in names}

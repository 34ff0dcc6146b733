"""Taps: named places inside a network whose activations can be read.

A network lists its natural depths in an attribute `taps`, shallowest first; each is the name of a submodule. A network
without that attribute can still be tapped at any submodule by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import attrs
import torch
from torch import Tensor, nn

from rcframe.errors import RequestError, RunFailed, listed, nearest
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


#: Layers of whose outputs a pass found that no later layer overwrites them, with the modes (`training`) this holds in.
_left_alone: WeakKeyDictionary[nn.Module, set[bool]] = WeakKeyDictionary()


@attrs.frozen
class _Kept:
    """The output (B, ...) of a layer as it left it, and how often it had been written to by then."""

    name: str
    layer: nn.Module
    output: Tensor
    version: int
    copied: bool

    def settle(self) -> None:
        """Remember that no copy is needed here, if this pass showed it; refuse an output that was overwritten."""
        if self.output._version == self.version:
            _left_alone.setdefault(self.layer, set()).add(self.layer.training)
        elif not self.copied:
            raise RunFailed(
                f"The output of layer `{self.name}` was overwritten in place after it was read, which earlier passes "
                f"of the network did not do: let the layers behind it work on a copy."
            )


class Features(dict[str, Tensor]):
    """Activations by tap name, (B, ...) each; to be read, not written to."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, int] = {}
        self._kept: list[_Kept] = []

    def __missing__(self, name: str) -> Tensor:
        raise RequestError(f"Layer `{name}` of the network did not run, so it has no output to read: name another tap.")

    def keep(self, name: str, layer: nn.Module, output: Tensor) -> None:
        """Take in an output (B, ...) of a layer, as the mean with earlier ones of the same pass."""
        if name in self:
            self._counts[name] += 1
            self[name] = self[name] + (output - self[name]) / self._counts[name]
            return
        # A layer that works in place, such as nn.ReLU(inplace=True), may overwrite the output next. Copying large maps
        # at every step takes noticeable time, so it ends once a pass has shown that this network overwrites nothing. A
        # view instead is a node of its own as well, so that gradients are summed in the same order, to the last bit.
        copied = output.is_inference() or layer.training not in _left_alone.get(layer, ())
        self[name], self._counts[name] = output.clone() if copied else output.view_as(output), 1
        if not output.is_inference():
            self._kept.append(_Kept(name, layer, output, output._version, copied))

    def clear(self) -> None:
        """Forget what was recorded, before another pass."""
        self.settle()
        super().clear()

    def settle(self) -> None:
        """Look whether the network overwrote what was recorded."""
        kept, self._kept = self._kept, []
        for one in kept:
            one.settle()


@contextmanager
def recording(module: nn.Module, names: Sequence[str]) -> Iterator[Features]:
    """Record the outputs of the named submodules during forward passes of `module`.

    A layer that runs several times in one pass (once per time step of a spiking network) is recorded as the mean of
    its outputs. Call `clear` on the result between passes.
    """
    features = Features()
    hooks = [
        find_tap(module, name).register_forward_hook(
            lambda layer, _inputs, output, name=name: features.keep(name, layer, output)
        )
        for name in names
    ]
    try:
        yield features
        features.settle()
    finally:
        for hook in hooks:
            hook.remove()


def tap_shapes(module: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tap without its batch dimension, by running `x` (B, C, H, W) once."""
    with evaluating(module), torch.no_grad(), recording(module, names) as features:
        module(x)
    return {name: tuple(features[name].shape[1:]) for name in names}

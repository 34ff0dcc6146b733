"""What a spiking network does for an image: how often its neurons spike, and what arithmetic that causes.

A spike causes one addition for every connection that starts at its neuron; a connection whose weight is zero does
nothing. Layers that read the image itself multiply. Averages of spikes are counted as spikes where they are not zero,
which is usual and kind to the spiking network. What neurons do for themselves, and memory, count in no network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.networks.modes import evaluating
from rcframe.networks.spiking import SpikingLayer, SpikingNetwork

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


@attrs.frozen
class LayerActivity:
    """How much the neurons of one spiking layer do."""

    layer: str
    neurons: int
    #: Mean number of spikes of a neuron in one time step.
    rate: float
    #: Additions that its spikes cause in the next layers, for one image.
    operations: float
    #: Multiplications, each with an addition, in the same layers for one image if ordinary neurons stand here.
    macs: float = 0.0


@attrs.frozen
class Encoding:
    """The layers of a spiking network that read the image itself."""

    #: Time steps for one image.
    steps: int
    #: Multiplications, each with an addition, in one time step; all steps see the same image.
    macs: float


@attrs.frozen
class Costs:
    """Picojoules of a multiplication with addition, and of an addition."""

    multiply: float
    add: float


#: Both in 45 nm (Horowitz, ISSCC 2014). Publications use either, and their ratio decides the gain that they claim.
FLOAT_COSTS, INTEGER_COSTS = Costs(4.6, 0.9), Costs(3.2, 0.1)


@attrs.frozen
class Energy:
    """Picojoules of arithmetic for one image: spiking, and in the same network with ordinary neurons."""

    spiking: float
    ordinary: float


def energy_of(encoding: Encoding, layers: Iterable[LayerActivity], costs: Costs = FLOAT_COSTS) -> Energy:
    """Return what a spiking network needs, if what its first layers make of the image is computed once."""
    every = list(layers)
    return Energy(
        spiking=costs.multiply * encoding.macs + costs.add * sum(layer.operations for layer in every),
        ordinary=costs.multiply * (encoding.macs + sum(layer.macs for layer in every)),
    )


@attrs.frozen
class Activity:
    """What a spiking network did."""

    encoding: Encoding
    #: In the order in which they run.
    layers: tuple[LayerActivity, ...]


def spiking_part(module: nn.Module) -> SpikingNetwork | None:
    """Return the spiking network that a module is or holds, or None."""
    return next((part for part in module.modules() if isinstance(part, SpikingNetwork)), None)


def activity_of(network: SpikingNetwork, batches: Iterable[Tensor]) -> Activity:
    """Count what `network` does for the images of all batches (B, C, H, W); it comes back as it was."""
    counts = _Counts()
    with evaluating(network), torch.no_grad(), counts.watching(network):
        for x in batches:
            network(x)
            counts.images += len(x)
    return counts.activity(network.steps)


@attrs.define(eq=False)
class _Counts:
    """What was seen so far: numbers are sums over images and time steps, by spiking layer."""

    images: int = 0
    neurons: dict[str, int] = attrs.field(factory=dict)
    spikes: Counter[str] = attrs.field(factory=Counter)
    operations: Counter[str] = attrs.field(factory=Counter)
    #: The layers that read the image itself stand under no name.
    macs: Counter[str] = attrs.field(factory=Counter)
    #: The outputs of this time step; as long as they are held, no other tensor can be where one of them is.
    _fired: dict[str, Tensor] = attrs.field(factory=dict)
    _fan_outs: dict[tuple[nn.Module, torch.Size], Tensor] = attrs.field(factory=dict)

    @contextmanager
    def watching(self, network: SpikingNetwork) -> Iterator[None]:
        """Count while `network` runs."""
        hooks = [network.body.register_forward_pre_hook(lambda _m, _i: self._fired.clear())]
        for name, part in network.body.named_modules():
            if isinstance(part, SpikingLayer):
                hooks.append(self._on_spikes(name, part))
            elif isinstance(part, nn.Conv2d | nn.Linear):
                hooks.append(part.register_forward_pre_hook(lambda layer, inputs: self._drive(layer, inputs[0])))
        try:
            yield
        finally:
            self._fired.clear()
            for hook in hooks:
                hook.remove()

    def _on_spikes(self, name: str, layer: SpikingLayer) -> RemovableHandle:
        return layer.register_forward_hook(lambda _m, _i, spikes: self._fire(name, spikes))

    def _fire(self, name: str, spikes: Tensor) -> None:
        self._fired[name] = spikes
        self.neurons[name] = spikes[0].numel()
        self.spikes[name] += int(torch.count_nonzero(spikes))

    def _drive(self, layer: nn.Conv2d | nn.Linear, x: Tensor) -> None:
        """Count what inputs (B, ...) make a layer with weights do."""
        place = layer, x.shape[1:]
        if place not in self._fan_outs:
            self._fan_outs[place] = _fan_out(*place)
        fan_out, source = self._fan_outs[place], self._source(x)
        self.macs[source] += len(x) * int(fan_out.sum())
        self.operations[source] += int((torch.count_nonzero(x, dim=0).cpu() * fan_out).sum())

    def _source(self, x: Tensor) -> str:
        """Name the layer whose spikes these are; where they were pooled or added, the one that fired last."""
        same = [name for name, spikes in self._fired.items() if _address(spikes) == _address(x)]
        return next(reversed(same or list(self._fired)), "")

    def activity(self, steps: int) -> Activity:
        """Return the means."""
        passes = max(self.images, 1) * steps
        layers = (
            LayerActivity(
                layer=name,
                neurons=neurons,
                rate=self.spikes[name] / (passes * neurons),
                operations=self.operations[name] / max(self.images, 1),
                macs=self.macs[name] / passes,
            )
            for name, neurons in self.neurons.items()
        )
        return Activity(Encoding(steps, self.macs[""] / passes), tuple(layers))


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _fan_out(layer: nn.Conv2d | nn.Linear, shape: torch.Size) -> Tensor:
    """Return how many connections start at each input of a layer: int64 of the shape of one input."""
    one = torch.ones(1, *shape, requires_grad=True)
    wired = (layer.weight != 0).float().cpu()
    with torch.enable_grad():
        if isinstance(layer, nn.Linear):
            reached = F.linear(one, wired)
        else:
            reached = F.conv2d(one, wired, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        (fan_out,) = torch.autograd.grad(reached.sum(), one)
    return fan_out[0].round().long()

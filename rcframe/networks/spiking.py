"""Spiking networks: an ordinary network whose ReLUs are neurons that remember, run for a number of time steps.

The image is the input current of every step (direct coding). What the neurons remember lives on the call of `unroll`
and nowhere else, so no forward pass can see another one.
"""

from __future__ import annotations

import copy
import itertools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.errors import RequestError, listed
from rcframe.networks.graph import calls
from rcframe.networks.taps import taps_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rcframe.api import NeuronModel

_RELUS = (nn.ReLU, nn.ReLU6)
_FUNCTIONAL_RELUS = frozenset(
    [F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, torch.clamp_min, "relu", "relu_", "clamp_min", "clamp_min_"]
)
_OTHER_ACTIVATIONS = (
    *(nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Softplus),
    *(nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LogSigmoid, nn.Softsign, nn.Threshold),
)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class TimedLayer(nn.Module):
    """A layer that remembers from one time step to the next: `cell(x, state | None) -> (output, state | None)`."""

    #: Whoever traces a network takes this layer as a whole.
    chain_leaf = True

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Run one time step on `x` (B, ...); outside a running network that is the first step from rest."""
        memory = _running.get()
        if memory is not None:
            return memory.advance(self, x)
        output: Tensor = self.cell(x, None)[0]
        return output


class SpikingLayer(TimedLayer):
    """One layer of spiking neurons, in the place of a ReLU."""


class SharedDropout(TimedLayer):
    """A dropout that draws one mask per forward pass and keeps it for all time steps."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__(_HeldMask(dropout))


class _HeldMask(nn.Module):
    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self.training:
            return x, mask
        held: Tensor = self.dropout(torch.ones_like(x)) if mask is None else mask
        return x * held, held


class SpikingState(tuple[Tensor | None, ...]):
    """What every layer of a network remembers after a time step; `unroll` goes on from it."""

    def detach(self) -> SpikingState:
        """Return the same values, cut off from the graph that computed them."""
        return SpikingState(None if kept is None else kept.detach() for kept in self)


class _Memory:
    """Hands each layer what it kept in the step before, and keeps what it leaves for the next one."""

    def __init__(self, network: nn.Module, state: SpikingState | None) -> None:
        layers = {part: name for name, part in network.named_modules() if isinstance(part, TimedLayer)}
        if state is not None and len(state) != len(layers):
            raise RequestError(
                f"The given state belongs to {len(state)} layers, but this network has {len(layers)} that remember: "
                f"pass the state that `unroll` of this network returned."
            )
        self._names = layers
        self._before = dict(zip(layers, state or [None] * len(layers), strict=True))
        self._after: dict[TimedLayer, Tensor | None] = {}

    def next_step(self) -> None:
        self._before |= self._after
        self._after = {}

    def state(self) -> SpikingState:
        self.next_step()
        return SpikingState(self._before.values())

    def advance(self, layer: TimedLayer, x: Tensor) -> Tensor:
        before = self._before[layer]
        if layer in self._after:
            raise RequestError(
                f"Layer `{self._names[layer]}` runs twice in one time step, but neurons belong to one place: "
                f"give every place of the network an nn.ReLU() (or nn.Dropout()) of its own."
            )
        if before is not None and before.shape != x.shape:
            raise RequestError(
                f"Layer `{self._names[layer]}` remembers a batch of shape {tuple(before.shape)}, but this one has "
                f"shape {tuple(x.shape)}: start from rest (`state=None`) when the batch changes."
            )
        output: Tensor
        output, self._after[layer] = layer.cell(x, before)
        return output


_running: ContextVar[_Memory | None] = ContextVar("_running", default=None)


class SpikingNetwork(nn.Module):
    """A network with spiking layers: images (B, C, H, W) go in at every step, logits (B, classes) come out."""

    #: Whoever traces a network takes this one as a whole: its layers run once per time step, not once.
    chain_leaf = True

    def __init__(self, body: nn.Module, steps: int, readout: Literal["sum", "mean"] = "sum") -> None:
        super().__init__()
        self.body = body
        self.steps = steps
        self.readout = readout

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) after `steps` time steps from rest."""
        total, _ = self.unroll(x, self.steps)
        return total if self.readout == "sum" else total / self.steps

    def unroll(self, x: Tensor, steps: int, state: SpikingState | None = None) -> tuple[Tensor, SpikingState]:
        """Run `steps` time steps from `state`, or from rest; return the summed outputs (B, classes) and the state.

        Going on from a carried state gives the states and the outputs of every step that one long run gives.
        """
        if steps < 1:
            raise RequestError(f"A spiking network was asked for {steps} time steps, but it needs at least 1.")
        memory = _Memory(self, state)
        token = _running.set(memory)
        try:
            total: Tensor = self.body(x)
            for _ in range(steps - 1):
                memory.next_step()
                total = total + self.body(x)
        finally:
            _running.reset(token)
        return total, memory.state()

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps of the network inside, named from here."""
        return tuple(f"body.{name}" for name in taps_of(self.body))

    def extra_repr(self) -> str:
        """Show time steps and readout where the network is printed."""
        return f"steps={self.steps}, readout={self.readout}"


def convert(neuron: NeuronModel, module: nn.Module) -> SpikingNetwork:
    """Return a spiking copy of `module`: neurons for every ReLU, one mask per pass for every dropout."""
    if reason := unconvertible(module):
        raise RequestError(f"The network cannot become spiking: {reason}.")
    network = SpikingNetwork(copy.deepcopy(module), neuron.steps, neuron.readout)
    network.training = module.training
    for name, part in list(network.named_modules(remove_duplicate=False)):
        if isinstance(part, _RELUS):
            _replace(network, name, _placed(SpikingLayer(neuron.cell()), module))
        elif isinstance(part, _DROPOUTS):
            _replace(network, name, SharedDropout(part))
    return network


def _placed(layer: SpikingLayer, module: nn.Module) -> SpikingLayer:
    """Move a layer to where the weights of `module` are, in their precision."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    return layer if like is None else layer.to(like.device, like.dtype)


def _replace(network: nn.Module, name: str, layer: TimedLayer) -> None:
    parent, _, child = name.rpartition(".")
    layer.train(network.get_submodule(name).training)
    setattr(network.get_submodule(parent), child, layer)


def unconvertible(module: nn.Module) -> str | None:
    """Say which layer of `module` keeps it from becoming a spiking network and what to do, or None."""
    for name, part in module.named_modules():
        if isinstance(part, TimedLayer | SpikingNetwork):
            return f"`{name or type(part).__name__}` is spiking already; convert the network it was made from"
    places: dict[nn.Module, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        if isinstance(part, _RELUS):
            places.setdefault(part, []).append(f"`{name}`")
    for names in places.values():
        if len(names) > 1:
            return f"{listed(names)} are one and the same nn.ReLU; give each place an nn.ReLU() of its own"
    for name, part in module.named_modules():
        if isinstance(part, _OTHER_ACTIVATIONS) and not isinstance(part, _RELUS):
            return f"`{name}` is a {type(part).__name__}, which would not spike; use nn.ReLU() instead"
    if reason := _relu_calls(module):
        return reason
    if not places:
        return (
            f"`{type(module).__name__}` has no nn.ReLU layer; if it calls relu as a function, "
            f"write nn.ReLU() modules instead"
        )
    return None


def _relu_calls(module: nn.Module) -> str | None:
    """Say which activation would not spike, or would spike with one state in two places, as far as can be traced."""
    seen: set[object] = set()
    for name, target in calls(module):
        if target in _FUNCTIONAL_RELUS:
            return f"`{name}` calls relu as a function, which would not spike; write nn.ReLU() modules instead"
        if isinstance(target, _RELUS) and target in seen:
            return f"`{name}` runs twice in one forward pass; give each place an nn.ReLU() of its own"
        seen.add(target)
    return None


class SpikeCounts:
    """Spikes of each spiking layer, counted over the forward passes of one network."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._spikes: dict[str, Tensor] = {}
        self._chances: dict[str, int] = {}

    def add(self, layer: str, spikes: Tensor) -> None:
        """Count the spikes (B, ...) of one layer in one time step."""
        # Stays a tensor, so that counting never waits for the device.
        found = torch.count_nonzero(spikes.detach())
        self._spikes[layer] = self._spikes[layer] + found if layer in self._spikes else found
        self._chances[layer] = self._chances.get(layer, 0) + spikes.numel()

    def per_neuron(self) -> dict[str, float]:
        """Return by layer how often a neuron spikes in one forward pass of all time steps, on average."""
        return {layer: self._steps * int(self._spikes[layer]) / seen for layer, seen in self._chances.items() if seen}


@contextmanager
def counting(network: SpikingNetwork) -> Iterator[SpikeCounts]:
    """Count the spikes of every spiking layer while `network` runs; its outputs stay the same."""
    counts = SpikeCounts(network.steps)
    hooks = [
        part.register_forward_hook(lambda _m, _i, spikes, name=name: counts.add(name, spikes))
        for name, part in network.named_modules()
        if isinstance(part, SpikingLayer)
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()

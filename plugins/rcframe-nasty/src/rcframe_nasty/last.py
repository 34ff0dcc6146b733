"""The last layer of a network, trained or pulled on alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn

from rcframe import RequestError, evaluating


def find_last(network: nn.Module, example: Tensor) -> str | None:
    """Return the name of the linear layer whose output is what `network` answers to images `example` (B, C, H, W)."""
    layers: list[tuple[str, nn.Linear]] = [
        (name, part) for name, part in network.named_modules() if isinstance(part, nn.Linear)
    ]
    for name, layer in reversed(layers):
        with evaluating(network), torch.no_grad(), entering(layer) as entered:
            logits = network(example)
        if len(entered.inputs) == 1 and torch.equal(layer(entered.inputs[0]), logits):
            return name
    return None


def last_layer(network: nn.Module, example: Tensor) -> nn.Module:
    """Return the linear layer whose output is what `network` answers to images `example` (B, C, H, W), or refuse."""
    name = find_last(network, example)
    if name is None:
        raise RequestError(
            "The teacher's last layer is to be treated apart from the rest, but the outputs of this network do not "
            "come straight from a linear layer: leave `trainable` and `kl_grad_scope` at all, or choose another model."
        )
    return network.get_submodule(name)


@attrs.define
class Entered:
    """What entered a layer, one tensor per call."""

    inputs: list[Tensor] = attrs.field(factory=list)


@contextmanager
def entering(layer: nn.Module) -> Iterator[Entered]:
    """Record what enters a layer during forward passes of the network around it."""
    entered = Entered()

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        entered.inputs.append(inputs[0])

    hook = layer.register_forward_pre_hook(keep)
    try:
        yield entered
    finally:
        hook.remove()

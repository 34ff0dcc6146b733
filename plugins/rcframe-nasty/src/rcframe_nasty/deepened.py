"""Networks with one more linear layer before their last one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rcframe import DataInfo, RequestError, WrappingModel, component, set_layer
from rcframe_nasty.last import find_last, last_layer


class DeepHead(nn.Sequential):
    """A linear layer, a ReLU, and the layer that was the network's last.

    The new layer starts as the identity. Where what enters is never negative, as after a ReLU, the network answers as
    before; others, such as those that end in GELU or a normalisation, answer differently until they have trained.
    """

    def __init__(self, last: nn.Linear) -> None:
        # Made without numbers, since drawing some would shift what is drawn afterwards.
        extra = nn.Linear(last.in_features, last.in_features, dtype=last.weight.dtype, device="meta")
        extra = extra.to_empty(device=last.weight.device)
        nn.init.eye_(extra.weight)
        nn.init.zeros_(extra.bias)
        super().__init__(extra, nn.ReLU(), last)


def deepen(network: nn.Module, example: Tensor) -> None:
    """Put one more layer before the last one of `network`; `example` is a batch of images (B, C, H, W), or refuse."""
    name = find_last(network, example)
    if name is None:
        raise RequestError(
            "A linear layer is to go before the last one, but the outputs of this network do not come straight from "
            "a linear layer: choose another model, or leave `deepen` at false."
        )
    last = network.get_submodule(name)
    assert isinstance(last, nn.Linear)
    set_layer(network, name, DeepHead(last))


def head_of(network: nn.Module, example: Tensor) -> nn.Module:
    """Return what counts as the last layer: the one that is, with the one before it if that was added. Or refuse."""
    added = next((part for part in network.modules() if isinstance(part, DeepHead)), None)
    return last_layer(network, example) if added is None else added


def start_from(network: nn.Module, ordinary: Mapping[str, Tensor]) -> None:
    """Give `network` the weights of the `ordinary` one, which lacks the layer that was added, if one was."""
    if ordinary.keys() == network.state_dict().keys():
        network.load_state_dict(ordinary)
        return
    weights = dict(ordinary)
    for name, part in network.named_modules():
        if isinstance(part, DeepHead):
            moved = {key: key.replace(name, f"{name}.2", 1) for key in ordinary if key.startswith(f"{name}.")}
            weights = {moved.get(key, key): value for key, value in ordinary.items()}
            weights |= {key: value for key, value in network.state_dict().items() if key.startswith(f"{name}.0.")}
    network.load_state_dict(weights)


@component
class Deepened(WrappingModel):
    """A network with one more linear layer, followed by a ReLU, before its last one, started as the identity."""

    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        """Return the network with the layer added."""
        deepen(network, torch.zeros(2, *info.shape))
        return network

"""Initial weights other than those of PyTorch, for the networks that were published with them."""

from __future__ import annotations

from torch import nn


def he_fan_out(network: nn.Module) -> None:
    """Draw the weights of convolutions from a normal distribution of variance 2 / (kernel area x outputs)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def small_linear(network: nn.Module) -> None:
    """Draw the weights of linear layers from a normal distribution of standard deviation 0.01."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)

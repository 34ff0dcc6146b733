"""Normalisation as a layer, so that everything outside a model sees pixels in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """`(x - mean) / std` per channel; `x` is (B, C, H, W) in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (B, C, H, W)."""
        return (x - self.mean) / self.std


class Normalized(nn.Module):
    """A network with its normalisation in front: pixels in [0, 1] go in, logits come out."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of images in [0, 1]."""
        logits: Tensor = self.net(self.normalize(x))
        return logits

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps of the network inside, named from here."""
        return tuple(f"net.{name}" for name in getattr(self.net, "taps", ()))

"""Auxiliary classifiers on inner layers, with the attention gate in front (after "Be Your Own Teacher")."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

#: Shape of a tap without the batch dimension: (C, H, W) of a map, (C,) of a vector.
Shape = tuple[int, ...]


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 (with stride), 1x1, BN, ReLU, depthwise 3x3, 1x1 to the new width, BN, ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )


class Gate(nn.Module):
    """Weighs a map (B, C, H, W) by an attention in [0.5, 1) computed from it at half its size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            SeparableConv(channels, channels, 2),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the weighed map (B, C, H, W)."""
        coarse = self.attention(features)
        fine = F.interpolate(coarse, features.shape[-2:], mode="bilinear", align_corners=False)
        return features * fine.sigmoid()


def separable_head(own: Shape, deeper: Sequence[Shape], classes: int) -> nn.Module:
    """Return the paper's classifier for a tap of shape `own`: a gate, then one separable convolution to the width and
    size of each deeper tap, then average pooling and a linear layer.
    """
    if len(own) != 3:
        return nn.Linear(own[0], classes)
    layers: list[nn.Module] = [Gate(own[0])]
    channels, height = own[0], own[1]
    for out, out_height in [(shape[0], shape[1]) for shape in deeper if len(shape) == 3]:
        layers.append(SeparableConv(channels, out, 2 if height > out_height else 1))
        channels, height = out, out_height
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def plain_head(own: Shape, deeper: Sequence[Shape], classes: int) -> nn.Module:
    """Return a small classifier for small networks: one 3x3 convolution to the last map's width and size, BN, ReLU,
    average pooling and a linear layer.
    """
    if len(own) != 3:
        return nn.Linear(own[0], classes)
    maps = [shape for shape in deeper if len(shape) == 3] or [own]
    out, stride = maps[-1][0], max(1, own[1] // maps[-1][1])
    return nn.Sequential(
        nn.Conv2d(own[0], out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(out, classes),
    )


def initialise(head: nn.Module) -> None:
    """Draw convolution weights He-normal by fan-out; batch norm starts at 1 and 0 by itself."""
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

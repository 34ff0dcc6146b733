"""Statistics of pixels, for the normalisation inside a model."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 1024
#: Floor of a standard deviation, one step of an 8-bit pixel: images of a single colour must not divide by zero.
_LEAST_STD = 1 / 255


def channel_statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of `x` (N, C, H, W), in [0, 1]; uint8 counts as 0..255."""
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    scale = 255.0 if x.dtype == torch.uint8 else 1.0
    for start in range(0, len(x), _CHUNK):
        pixels = x[start : start + _CHUNK].double() / scale
        total += pixels.sum(dim=(0, 2, 3))
        squares += pixels.square().sum(dim=(0, 2, 3))
    count = x.numel() / x.shape[1]
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_STD)
    return tuple(mean.tolist()), tuple(std.tolist())

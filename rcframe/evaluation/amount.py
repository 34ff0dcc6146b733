"""Means over images that are no accuracies, such as an entropy, with their intervals."""

from __future__ import annotations

import math

import attrs
from torch import Tensor

Z95 = 1.959963984540054


@attrs.frozen
class Amount:
    """Something measured on `n` images, with its 95% interval over images."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def mean(cls, values: Tensor) -> Amount:
        """Return the mean of finite values (n,), n > 0, with the normal interval; of one image it has no width."""
        count, wide = values.numel(), values.double()
        centre = float(wide.mean())
        half = Z95 * float(wide.std()) / math.sqrt(count) if count > 1 else 0.0
        return cls(centre, centre - half, centre + half, count)

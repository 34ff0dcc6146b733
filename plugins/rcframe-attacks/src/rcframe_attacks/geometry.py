"""Where adversarial images may lie, image by image."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Threat


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Return `values` (B,) in a shape that multiplies images such as `like` (B, ...) one by one."""
    return values.view(-1, *[1] * (like.dim() - 1))


@attrs.frozen(eq=False)
class Region:
    """Where the adversarial versions of some images (B, C, H, W) may lie."""

    threat: Threat
    x: Tensor
    #: The corners of the box (B, C, H, W), where the region is one: with them, projection is one operation.
    low: Tensor | None = None
    high: Tensor | None = None

    @classmethod
    def around(cls, x: Tensor, threat: Threat) -> Region:
        """Return the region of a threat to the images `x`."""
        if threat.norm != "linf":
            return cls(threat, x)
        return cls(threat, x, (x - threat.eps).clamp(*threat.bounds), (x + threat.eps).clamp(*threat.bounds))

    def project(self, points: Tensor) -> Tensor:
        """Return `Threat.project(points, x)`, to the bit; `points` are free to be overwritten."""
        if self.low is None or self.high is None:
            return self.threat.project(points, self.x)
        return torch.clamp(points, self.low, self.high, out=points)

    def rows(self, kept: Tensor) -> Region:
        """Return the region of the chosen images; `kept` are their places or a mask."""
        if self.low is None or self.high is None:
            return attrs.evolve(self, x=self.x[kept])
        return attrs.evolve(self, x=self.x[kept], low=self.low[kept], high=self.high[kept])

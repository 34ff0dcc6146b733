"""Directions, starts and regions in the norm of a threat."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Threat


def steepest(gradient: Tensor, threat: Threat) -> Tensor:
    """Return the unit step (B, C, H, W) along which a linear function rises most; 0 where the gradient is 0."""
    return (
        gradient.sign() if threat.norm == "linf" else gradient / per_image(length(gradient).clamp_min(1e-12), gradient)
    )


def length(x: Tensor) -> Tensor:
    """Return the Euclidean lengths (B,) of the rows of `x` (B, ...)."""
    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return lengths


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Return `values` (B,) in a shape that multiplies images such as `like` (B, ...) one by one."""
    return values.view(-1, *[1] * (like.dim() - 1))


def random_point(x: Tensor, threat: Threat) -> Tensor:
    """Return points (B, C, H, W) drawn uniformly from the balls around `x`, pixel range aside."""
    if threat.norm == "linf":
        return x + torch.empty_like(x).uniform_(-threat.eps, threat.eps)
    direction = torch.randn_like(x)
    radius = torch.rand(len(x), device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
    return x + threat.eps * per_image(radius / length(direction).clamp_min(1e-12), x) * direction


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

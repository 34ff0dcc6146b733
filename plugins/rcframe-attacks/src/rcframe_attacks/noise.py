"""Random changes, as controls: an attack that is no stronger than these has found nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, component, more_than, option


@component
class Uniform(Attack):
    """A random point of the threat, or in linf a random corner of it: every pixel by eps up or down."""

    corners: bool = option(default=True, help="Whether the point is as far away as possible.")

    access = Access.NONE
    norms = ("linf", "l2")
    iterated = False

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Draw once and ask nothing."""
        if not self.corners:
            return threat.random_point(x)
        if threat.norm == "linf":
            return x + threat.eps * torch.randint(0, 2, x.shape, device=x.device).mul(2).sub(1).to(x.dtype)
        return x + threat.eps * _unit(torch.randn_like(x))


@component
class Gaussian(Attack):
    """Normal noise on every pixel, cut off at the threat."""

    std: float | None = option(
        default=None,
        help="Standard deviation in pixels; none is eps/2 in linf, and in l2 what makes an image move by about eps.",
        check=more_than(0),
    )

    access = Access.NONE
    norms = ("linf", "l2")
    iterated = False

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Draw once and ask nothing."""
        usual = threat.eps / 2 if threat.norm == "linf" else threat.eps / math.sqrt(x[0].numel())
        return threat.project(x + (usual if self.std is None else self.std) * torch.randn_like(x), x)


def _unit(direction: Tensor) -> Tensor:
    """Return every image (B, C, H, W) scaled to length 1."""
    length: Tensor = torch.linalg.vector_norm(direction.flatten(1), dim=1).clamp_min(1e-12)
    return direction / length.view(-1, *[1] * (direction.dim() - 1))

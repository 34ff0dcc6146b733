"""The radius that is proved around each image, the per-image counterpart of certified accuracy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rcframe import Norm, certified, check_pixels, make_threat
from rcframe_convex.bounds import Ball
from rcframe_convex.certifier import Convex, network_of


@torch.no_grad()
def radius(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: Norm = "linf",
    *,
    largest: float = 1.0,
    halvings: int = 25,
    certifier: Convex | None = None,
) -> Tensor:
    """Return a radius (B,) up to `largest` within which label `y` (B,) is proved for images `x` (B, C, H, W).

    By bisection, each image on its own: the result is the last radius at which a certificate was computed, so it
    holds whether or not the bounds fall steadily with the radius. It is 0 where the network errs.
    """
    certifier = certifier or Convex()
    check_pixels(x, "The images to certify")
    threat = make_threat(largest, norm)
    network = network_of(module, x)
    bounds = threat.bounds if certifier.bounded else None

    def holds(eps: Tensor) -> Tensor:
        return certified(certifier.ball_margins(network, Ball(x, eps, threat.norm, bounds), y), y)

    high = x.new_full((len(x),), threat.eps)
    proved = torch.where(holds(high), high, 0.0)
    for _ in range(halvings):
        middle = (proved + high) / 2
        works = holds(middle)
        proved, high = torch.where(works, middle, proved), torch.where(works, high, middle)
    return proved

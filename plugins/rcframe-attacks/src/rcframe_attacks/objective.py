"""What gradient attacks climb."""

from __future__ import annotations

import torch
from torch import Tensor

from rcframe import Oracle


def confusion(logits: Tensor, y: Tensor) -> Tensor:
    """Return `log sum_{j != y} exp z_j - z_y` for every row of `logits` (B, classes); `y` is (B,).

    Cross-entropy is `log(1 + exp(confusion))`, so its gradient is this one's times a positive number: directions and
    signs are those of cross-entropy, but they survive when a confident network's cross-entropy underflows to 0.
    """
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, y.unsqueeze(1), float("-inf"))
    return others.logsumexp(dim=1) - own


def ascent_direction(source: Oracle, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (B, C, H, W) of the summed confusion with respect to the images."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(confusion(source.logits(x), y).sum(), x)
    return gradient

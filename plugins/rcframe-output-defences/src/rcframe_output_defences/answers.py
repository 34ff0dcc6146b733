"""What the defences do to keep their answers sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def as_logits(p: Tensor) -> Tensor:
    """Return logits whose softmax is `p` (B, classes) divided by its sum: -inf where p is 0."""
    return p.log()


def top_swapped(values: Tensor, top: Tensor) -> Tensor:
    """Let the classes `top` (B,) swap values with the largest of (B, classes)."""
    own, best = top.unsqueeze(1), values.argmax(dim=1, keepdim=True)
    ahead, behind = values.gather(1, best), values.gather(1, own)
    return values.scatter(1, best, behind).scatter(1, own, ahead)


def top_raised(values: Tensor, top: Tensor, unit: float) -> Tensor:
    """Give the classes `top` (B,), the largest of (B, classes), one unit more where others equal them."""
    own = top.unsqueeze(1)
    mine = values.gather(1, own)
    tied = (values == mine).sum(dim=1, keepdim=True) > 1
    return values.scatter(1, own, torch.where(tied, mine + unit, mine))


def top_alone_in_single(values: Tensor, top: Tensor) -> Tensor:
    """Return values (B, classes) in single precision; `top` (B,) stays larger than what rounds to the same there."""
    single, own = values.float(), top.unsqueeze(1)
    others = single.scatter(1, own, -math.inf).amax(dim=1, keepdim=True)
    above = others.nextafter(torch.full_like(others, math.inf))
    return single.scatter(1, own, single.gather(1, own).maximum(above))

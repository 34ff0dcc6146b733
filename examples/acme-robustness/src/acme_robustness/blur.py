"""An attack that needs nothing from the model but its predictions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, component, option


@component
class Blur(Attack):
    """Replaces an image by its blurred copy where that changes the predicted class."""

    width: int = option(default=3, help="Pixels that are averaged, in each direction.", check=at_least(1))

    access = Access.LABEL
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return blurred images (B, C, H, W) where they help, the originals elsewhere."""
        before = self.width // 2
        padded = F.pad(x, (before, self.width - 1 - before) * 2, mode="replicate")
        blurred = threat.project(F.avg_pool2d(padded, self.width, stride=1), x)
        broken = source.labels(blurred) != y
        return torch.where(broken.view(-1, 1, 1, 1), blurred, x)

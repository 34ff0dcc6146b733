"""The worst of several tries, image by image."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Oracle
from rcframe_attacks.geometry import per_image
from rcframe_attacks.objective import confusion, misclassified


@attrs.define(eq=False)
class WorstCase:
    """The most confusing point (B, C, H, W) found so far for every image, and how bad it is (B,)."""

    points: Tensor
    #: The confusion of the model there, and infinity where it is wrong.
    badness: Tensor

    @classmethod
    def of(cls, x: Tensor) -> WorstCase:
        """Return a collection to which anything is news."""
        return cls(x.clone(), torch.full(x.shape[:1], float("-inf"), dtype=x.dtype, device=x.device))

    def everywhere(self) -> Tensor:
        """Return the places (B,) of all images."""
        return torch.arange(len(self.points), device=self.points.device)

    def unbroken(self) -> Tensor:
        """Return the places (n,) of the images that no try has broken."""
        return (self.badness < float("inf")).nonzero().squeeze(1)

    def note(self, place: Tensor, points: Tensor, y: Tensor, source: Oracle) -> None:
        """Look at points (n, C, H, W) found for the images at `place` (n,) with labels (n,) and keep what is worse."""
        with torch.no_grad():
            logits = source.logits(points)
        badness = torch.where(misclassified(logits, y), float("inf"), confusion(logits, y))
        worse = badness > self.badness[place]
        self.points[place] = torch.where(per_image(worse, points), points, self.points[place])
        self.badness[place] = torch.where(worse, badness, self.badness[place])

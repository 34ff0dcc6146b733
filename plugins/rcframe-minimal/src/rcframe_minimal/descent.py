"""Adam on a batch that images leave, the change of variables, and the nearest images met."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe_minimal.margins import per_image

#: Keeps pixels at the ends of the range off the infinities of the inverse of tanh; from the authors' code.
_INSIDE = 0.999999


def to_unbounded(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return the w (B, C, H, W) whose tanh, scaled to `bounds`, is all but `x`."""
    low, high = bounds
    return torch.atanh(_INSIDE * (2 * (x - low) / (high - low) - 1))


def from_unbounded(w: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return the images (B, C, H, W) that are `w` in the unbounded space."""
    low, high = bounds
    return low + (high - low) * (w.tanh() + 1) / 2


@attrs.define(eq=False)
class Nearest:
    """The nearest misclassified images (B, C, H, W) met so far, and how far they are (B,)."""

    images: Tensor
    distance: Tensor

    @classmethod
    def to(cls, x: Tensor) -> Nearest:
        """Start with the images themselves, infinitely far."""
        return cls(x.clone(), torch.full_like(x.flatten(1)[:, 0], float("inf")))

    def note(self, places: Tensor, images: Tensor, distance: Tensor, counts: Tensor) -> None:
        """Take over those of `images` (b, ...) at `places` (b,) that count (b,) and are nearer than before."""
        known = self.distance[places]
        nearer = counts & (distance < known)
        self.distance[places] = torch.where(nearer, distance, known)
        self.images[places] = torch.where(per_image(nearer, images), images, self.images[places])


@attrs.define(eq=False)
class Descent:
    """Adam (Kingma & Ba, 2015) with its usual settings, on points (b, ...) that can leave one by one."""

    point: Tensor
    lr: float
    mean: Tensor
    square: Tensor
    steps: int = 0

    @classmethod
    def at(cls, point: Tensor, lr: float) -> Descent:
        """Start at `point`."""
        return cls(point, lr, torch.zeros_like(point), torch.zeros_like(point))

    def step(self, gradient: Tensor) -> None:
        """Go one step down."""
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient.square()
        scale = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        self.point = self.point.detach() - self.lr * self.mean / (1 - 0.9**self.steps) / scale

    def keep(self, which: Tensor) -> None:
        """Go on with some of the points only."""
        self.point, self.mean, self.square = self.point[which], self.mean[which], self.square[which]

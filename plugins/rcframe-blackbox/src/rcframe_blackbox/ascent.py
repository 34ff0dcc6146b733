"""Climbing on scores alone: what is climbed, how its slope is estimated, and the loop around both."""

from __future__ import annotations

from typing import Protocol

import attrs
import torch
from torch import Tensor

from rcframe import Oracle, Threat

#: Images per query, unless one pair for every image of the batch is more.
_AT_ONCE = 1024


def confusion(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the largest other logit exceeds that of the label `y` (B,): (B,), above 0 where it errs.

    Unlike cross-entropy, it tells neighbours apart however sure the network is.
    """
    others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)
    return others - logits.gather(1, y.unsqueeze(1)).squeeze(1)


class Draw(Protocol):
    """Draws random directions."""

    def __call__(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return directions (pairs, B, C, H, W), of the type and on the device of `like`."""


@attrs.frozen(eq=False)
class Slope:
    """Estimates the gradient of the confusion from `2 * pairs` scores per image."""

    source: Oracle
    threat: Threat
    pairs: int
    width: float
    draw: Draw

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Equation: the mean of `(J(x + width u) - J(x - width u)) / (2 width) u` over random directions u.

        Neighbours are moved into the pixel range before they are asked for, so the slope (B, C, H, W) comes out half
        as large for pixels at its ends.
        """
        total, done = torch.zeros_like(x), 0
        while done < self.pairs:
            count = min(self.pairs - done, max(1, _AT_ONCE // (2 * len(x))))
            u = self.draw((count, *x.shape), x)
            neighbours = torch.cat([x + self.width * u, x - self.width * u]).clamp(*self.threat.bounds)
            scores = confusion(self.source.logits(neighbours.flatten(0, 1)), y.repeat(2 * count))
            above, below = scores.view(2, count, len(x))
            total += torch.einsum("kb,kb...->b...", above - below, u)
            done += count
        return total / (2 * self.width * self.pairs)


class Mover(Protocol):
    """Turns estimated slopes into steps, for images that leave one by one."""

    def step(self, slope: Tensor) -> Tensor:
        """Return the steps (b, C, H, W) to take."""

    def keep(self, which: Tensor) -> None:
        """Go on with some of the images only; `which` is a mask (b,)."""


def climb(x: Tensor, y: Tensor, slope: Slope, mover: Mover, steps: int, *, early_stop: bool) -> Tensor:
    """Take projected steps up the slope and return where they end (B, C, H, W).

    With `early_stop` every point is asked for before the next step, and a misclassified one stays. The last points are
    left to the kernel, which predicts on them anyway.
    """
    reached, left = x.clone(), torch.arange(len(x), device=x.device)
    for _ in range(steps):
        if early_stop:
            right = slope.source.logits(reached[left]).argmax(dim=1) == y[left]
            left = left[right]
            mover.keep(right)
        if not len(left):
            break
        moved = reached[left] + mover.step(slope(reached[left], y[left]))
        reached[left] = slope.threat.project(moved, x[left])
    return reached

"""The loop that all iterated attacks share: step by step uphill, dropping images as soon as they are misclassified."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Oracle, Threat
from rcframe_attacks.geometry import Region, per_image
from rcframe_attacks.objective import Objective, look_in_pieces, misclassified

#: On an accelerator, broken images leave the batch at every so many steps: asking which they are makes the host wait
#: for the device.
PATIENCE = 4
#: On a CPU, every thread is given images of about so many numbers at a time: their activations should fit into its
#: cache, which makes a step up to a third faster than one with a large batch.
NUMBERS_AT_ONCE = 64 * 3 * 32 * 32
FEWEST_AT_ONCE = 16


@attrs.define(eq=False)
class Front:
    """The images that are still under attack. Every tensor has one row (n, ...) for each of them."""

    #: Their places in the batch (n,).
    place: Tensor
    points: Tensor
    region: Region
    y: Tensor
    targets: Tensor | None
    #: The sum of past gradients, where the attack has momentum.
    velocity: Tensor | None
    #: Which were misclassified where they are now, and so stay there.
    broken: Tensor

    def keep(self, rows: Tensor) -> None:
        """Go on with the rows of a mask (n,) alone."""
        kept = rows.nonzero().squeeze(1)
        self.place, self.points, self.region = self.place[kept], self.points[kept], self.region.rows(kept)
        self.y, self.broken = self.y[kept], self.broken[kept]
        self.targets = None if self.targets is None else self.targets[kept]
        self.velocity = None if self.velocity is None else self.velocity[kept]


@attrs.frozen(kw_only=True)
class Ascent:
    """How the steps of an iterated attack go."""

    objective: Objective
    threat: Threat
    steps: int
    #: Length of a step, in pixels.
    step: float
    #: What remains of the sum of gradients from one step to the next; none is no sum.
    momentum: float | None = None
    #: Whether a misclassified image stays where it is and leaves the batch.
    early_stop: bool = True
    #: After how many steps such images leave; None is at once on a CPU, and now and then elsewhere.
    patience: int | None = None

    def climb(self, source: Oracle, start: Tensor, x: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return where images `x` (B, C, H, W) get from `start`, with labels and targets (B,).

        Each step costs one forward pass, which gives both the gradient and whether the point was good enough already.
        The last points are not looked at again.
        """
        patience = self.patience or (1 if x.device.type == "cpu" else PATIENCE)
        found = start.clone()
        front = self._front(start, x, y, targets)
        for number in range(self.steps):
            logits, gradient = look_in_pieces(
                source, front.points, front.y, self.objective, front.targets, self._at_once(x)
            )
            if self.early_stop:
                front.broken |= misclassified(logits, front.y)
                if number % patience == 0 and bool(front.broken.any()):
                    gradient = self._drop(front, gradient, found)
                    if not len(front.place):
                        return found
            moved = self._moved(front, gradient)
            # With patience 1 nothing broken is left here.
            waits = self.early_stop and patience > 1
            front.points = torch.where(per_image(front.broken, x), front.points, moved) if waits else moved
        found[front.place] = front.points
        return found

    def _at_once(self, x: Tensor) -> int:
        """Return how many images are best sent through a network together."""
        # Whoever wants every step may rely on the batch, as training does that leaves batch norm in training mode.
        if x.device.type != "cpu" or not self.early_stop:
            return len(x)
        return torch.get_num_threads() * max(FEWEST_AT_ONCE, NUMBERS_AT_ONCE // x[0].numel())

    def _front(self, start: Tensor, x: Tensor, y: Tensor, targets: Tensor | None) -> Front:
        return Front(
            place=torch.arange(len(x), device=x.device),
            points=start,
            region=Region.around(x, self.threat),
            y=y,
            targets=targets,
            velocity=None if self.momentum is None else torch.zeros_like(x),
            broken=torch.zeros_like(y, dtype=torch.bool),
        )

    def _drop(self, front: Front, gradient: Tensor, found: Tensor) -> Tensor:
        """Put the broken images into `found`, take them from the front, and return the gradients of the others."""
        found[front.place[front.broken]] = front.points[front.broken]
        others = ~front.broken
        front.keep(others)
        return gradient[others]

    def _moved(self, front: Front, gradient: Tensor) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step direction(g))`; g is the gradient, or with momentum its sum."""
        if front.velocity is not None and self.momentum is not None:
            front.velocity = gradient = accumulated(front.velocity, gradient, self.momentum)
        return front.region.project(self.threat.steepest(gradient).mul_(self.step).add_(front.points))


def accumulated(velocity: Tensor, gradient: Tensor, momentum: float) -> Tensor:
    """Equation: `g_{t+1} = mu g_t + grad / ||grad||_1`, image by image; an all-zero gradient adds nothing."""
    size = gradient.flatten(1).abs().sum(dim=1)
    return momentum * velocity + gradient / per_image(torch.where(size == 0, 1.0, size), gradient)

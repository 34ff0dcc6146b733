"""The dual bound of Wong & Kolter (2018), beside their Section 3.

The network is z_1 = x', zhat_{i+1} = W_i z_i + b_i, z_i = max(zhat_i, 0). Here a linear function c of some layer is
carried down to the input, so that what the paper calls nu arrives with the opposite sign: `rows` is -nu.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Norm
from rcframe_convex.network import Network
from rcframe_convex.steps import Map, Rectifier
from rcframe_convex.windows import Rows, Shape, Span, unit_rows

#: A ReLU whose bounds are this close together is relaxed with slope 1: sound, and free of huge gradients.
_NARROW = 1e-12


@attrs.frozen(eq=False)
class Ball:
    """The inputs within `eps` (B,) of `x` (B, C, H, W); with `bounds`, those among them in the pixel range."""

    x: Tensor
    eps: Tensor
    norm: Norm = "linf"
    bounds: tuple[float, float] | None = None

    def spread(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return how far functions of the input fall below and rise above their value at `x`: (B, I, J, R) each."""
        radius = self.eps[:, None, None, None]
        ball = radius * rows.norm(1 if self.norm == "linf" else 2)
        if self.bounds is None:
            return ball, ball
        low, high = self.bounds
        down = torch.minimum((self.x - low).clamp_min(0), radius)
        up = torch.minimum((high - self.x).clamp_min(0), radius)
        # For l2 this is the box around the ball: both contain the set, so the smaller spread holds.
        below = rows.positive(down) + rows.negative(up)
        above = rows.positive(up) + rows.negative(down)
        return torch.minimum(ball, below), torch.minimum(ball, above)

    def part(self, examples: slice) -> Ball:
        """Return the balls around some of the examples."""
        return Ball(self.x[examples], self.eps[examples], self.norm, self.bounds)


@attrs.frozen(eq=False)
class Relaxation(Map):
    """A ReLU inside its triangle: D z <= max(z, 0) <= D z + D (-l), with D = u / (u - l) where l < 0 < u.

    `slope` is D and `gap` is -l there and 0 elsewhere, both (B, C, H, W).
    """

    slope: Tensor
    gap: Tensor

    @classmethod
    def between(cls, lower: Tensor, upper: Tensor) -> Relaxation:
        """Relax a ReLU whose inputs lie between two fields (B, C, H, W); which case applies is a constant."""
        crossing = (lower < 0) & (upper > 0)
        width = torch.where(crossing, upper - lower, 1.0)
        inner = torch.where(width > _NARROW, upper / width.clamp_min(_NARROW), 1.0)
        slope = torch.where(crossing, inner, (lower >= 0).to(lower.dtype))
        return cls(slope, torch.where(crossing, -lower, 0.0))

    def forward(self, z: Tensor) -> Tensor:
        """Return the lower line of the triangle at `z` (B, C, H, W)."""
        return self.slope * z

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Return nu_i = D_i nuhat_i."""
        return rows.times(self.slope)

    def spread(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return how far below and above the lower line functions come: sums of -l [nu]+ and -l [-nu]+ (B, I, J, R)."""
        return rows.negative(self.gap), rows.positive(self.gap)


#: What lies below a layer: each map with the shape of its input.
Below = list[tuple[Map, Shape]]


def spread(rows: Rows, below: Below, ball: Ball) -> tuple[Tensor, Tensor]:
    """Return how far functions fall below and rise above their centre over the relaxed set: (B, I, J, R) each.

    This is the dual objective J of Theorem 1 without its constant terms, for the function and for its negative.
    """
    down: Tensor | float = 0.0
    up: Tensor | float = 0.0
    for step, shape in reversed(below):
        rows = step.pull(rows, shape)
        if isinstance(step, Relaxation):
            more_down, more_up = step.spread(rows)
            down, up = down + more_down, up + more_up
    last_down, last_up = ball.spread(rows)
    return down + last_down, up + last_up


def activation_bounds(centre: Tensor, below: Below, ball: Ball, channels: int) -> tuple[Tensor, Tensor]:
    """Return bounds (B, C, H, W) of a layer whose centre is given, `channels` of it at a time (Algorithm 1)."""
    shape: Shape = (centre.shape[1], centre.shape[2], centre.shape[3])
    downs, ups = [], []
    for start in range(0, shape[0], channels):
        rows = unit_rows(range(start, start + channels), shape, centre)
        down, up = spread(rows, below, ball)
        downs.append(down.permute(0, 3, 1, 2).expand(len(centre), -1, *shape[1:]))
        ups.append(up.permute(0, 3, 1, 2).expand(len(centre), -1, *shape[1:]))
    return centre - torch.cat(downs, dim=1), centre + torch.cat(ups, dim=1)


def relaxed(network: Network, ball: Ball, channels: int) -> tuple[Tensor, Below]:
    """Return the centre of the logits (B, classes, 1, 1) and all maps below them, each ReLU relaxed.

    The centre is the network with every ReLU replaced by the lower line of its triangle, at `x`: the terms of J that
    hold biases and x.
    """
    centre, below = ball.x, Below()
    for step, shape in zip(network.steps, network.shapes, strict=True):
        if isinstance(step, Rectifier):
            step = Relaxation.between(*activation_bounds(centre, below, ball, channels))
        assert isinstance(step, Map)
        centre = step.forward(centre)
        below.append((step, shape))
    return centre, below


def margin_bounds(network: Network, ball: Ball, y: Tensor, channels: int) -> Tensor:
    """Return J for c = e_y - e_j: lower bounds (B, classes) on z_y - z_j over the ball, 0 for j = y."""
    centre, below = relaxed(network, ball, channels)
    identity = torch.eye(network.classes, dtype=centre.dtype, device=centre.device)
    objectives = identity[y][:, None] - identity
    down, _ = spread(Rows(objectives[:, None, None, :, :, None, None], (Span(1), Span(1))), below, ball)
    logits = centre.flatten(1)
    return logits.gather(1, y[:, None]) - logits - down[:, 0, 0]

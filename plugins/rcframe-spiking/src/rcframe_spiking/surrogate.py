"""The threshold step and the slopes that stand in for its derivative, which is zero wherever it exists."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import attrs
import torch
from torch import Tensor

SurrogateName = Literal["linear", "sigmoid", "atan", "fast-sigmoid", "rectangle", "piecewise-quadratic"]

#: Maps the distance x from the threshold (B, ...) and a scale to the derivative ds/dx used in its place.
Slope = Callable[[Tensor, float], Tensor]


def linear(x: Tensor, gamma: float) -> Tensor:
    """A triangle of height gamma that ends at |x| = 1."""
    return gamma * (1 - x.abs()).clamp(min=0)


def sigmoid(x: Tensor, a: float) -> Tensor:
    """The derivative of sigmoid(a x)."""
    s = torch.sigmoid(a * x)
    return a * s * (1 - s)


def atan(x: Tensor, a: float) -> Tensor:
    """The derivative of arctan(pi/2 a x) / pi."""
    return a / 2 / (1 + (math.pi / 2 * a * x) ** 2)


def fast_sigmoid(x: Tensor, k: float) -> Tensor:
    """The derivative of x / (1 + k |x|)."""
    return (1 + k * x.abs()) ** -2


def rectangle(x: Tensor, a: float) -> Tensor:
    """A box of height a and width 1/a."""
    return a * (x.abs() < 1 / (2 * a)).to(x.dtype)


def piecewise_quadratic(x: Tensor, a: float) -> Tensor:
    """A triangle of height a that ends at |x| = 1/a."""
    return (a - a**2 * x.abs()).clamp(min=0)


@attrs.frozen
class Surrogate:
    """A slope with the scale its authors use.

    `relative` surrogates measure the distance from the threshold as u/th - 1, the others as u - th.
    """

    slope: Slope
    scale: float
    relative: bool = False


SURROGATES: dict[SurrogateName, Surrogate] = {
    "linear": Surrogate(linear, 0.3, relative=True),
    "sigmoid": Surrogate(sigmoid, 4.0),
    "atan": Surrogate(atan, 2.0),
    "fast-sigmoid": Surrogate(fast_sigmoid, 25.0),
    "rectangle": Surrogate(rectangle, 1.0),
    "piecewise-quadratic": Surrogate(piecewise_quadratic, 1.0),
}


class _Step(torch.autograd.Function):
    """Turns the decision who fires into spikes; their gradient goes to the distance x, times the slope there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fires: Tensor, slope: Slope, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope, ctx.scale = slope, scale
        return fires.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(x, ctx.scale), None, None, None


@attrs.frozen
class Trigger:
    """Decides which neurons fire: spikes are exactly 0 or 1, their gradient is the surrogate's."""

    surrogate: Surrogate
    scale: float
    #: Whether a membrane exactly at the threshold fires.
    inclusive: bool = False

    def fires(self, u: Tensor, threshold: Tensor) -> Tensor:
        """Tell which membranes `u` (B, ...) are above the threshold."""
        return u >= threshold if self.inclusive else u > threshold

    def __call__(self, u: Tensor, threshold: Tensor) -> Tensor:
        """Return spikes (B, ...), 1 where `u` fires and else 0, with a gradient to membranes and threshold."""
        x = u / threshold - 1 if self.surrogate.relative else u - threshold
        return cast("Tensor", _Step.apply(x, self.fires(u, threshold), self.surrogate.slope, self.scale))


class _Bounded(torch.autograd.Function):
    """Clamps in the forward pass; backward, only a gradient that leads further out of the range is stopped."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.low, ctx.high = low, high
        return value.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (value,), gradient = ctx.saved_tensors, gradients[0]
        # Descent moves against the gradient: a negative one pushes the value up, a positive one down.
        leaving = ((value > ctx.high) & (gradient < 0)) | ((value < ctx.low) & (gradient > 0))
        return gradient.masked_fill(leaving, 0.0), None, None


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Return `value` clamped to [low, high] such that gradient descent on it can always come back inside."""
    return cast("Tensor", _Bounded.apply(value, low, high))

"""Natural evolution strategies (Ilyas et al., 2018)."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe import Access, Attack, Norm, Oracle, Threat, at_least, between, changed, component, more_than, option
from rcframe_blackbox.ascent import Slope, climb
from rcframe_blackbox.shapes import unit


@component
class NES(Attack):
    """Projected gradient steps whose gradients are estimated from the scores of random neighbours.

    Ilyas, Engstrom, Athalye, Lin: "Black-box Adversarial Attacks with Limited Queries and Information" (ICML 2018),
    the query-limited setting. Untargeted, true labels, on the margin of logits instead of cross-entropy. Neighbours lie
    in gaussian directions, each with its opposite; the running mean of the estimates is that of the authors' code.
    """

    steps: int = option(default=40, help="The most steps per image.", check=at_least(1))
    pairs: int = option(default=25, help="Pairs of opposite neighbours asked for per step.", check=at_least(1))
    sigma: float = option(default=0.001, help="Spread of the neighbours in pixels.", check=more_than(0))
    step_size: float | None = option(
        default=None, help="Length of a step in pixels; none is 2.5 eps / steps.", check=more_than(0)
    )
    momentum: float = option(
        default=0.9, help="Weight of the estimates before in the running mean.", check=between(0, 0.999)
    )
    early_stop: bool = option(
        default=True, help="Whether to ask before each step for the point itself, and stay there once it errs."
    )

    access = Access.LOGITS
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step sign(g_t))`, in l2 with `g_t / ||g_t||` in place of the sign."""
        length = self.step_size if self.step_size is not None else 2.5 * threat.eps / self.steps
        mover = RunningMean(torch.zeros_like(x), self.momentum, length, threat.norm)
        slope = Slope(source, threat, self.pairs, self.sigma, gaussian)
        return climb(x, y, slope, mover, self.steps, early_stop=self.early_stop)

    def stronger(self) -> NES:
        """Return it with twice the neighbours."""
        return changed(self, pairs=2 * self.pairs)

    def thorough(self) -> NES:
        """Return it taking every step."""
        return changed(self, early_stop=False)


def gaussian(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return directions whose every entry is standard normal."""
    return torch.randn(shape, dtype=like.dtype, device=like.device)


@attrs.define(eq=False)
class RunningMean:
    """Steps of one length along the running mean (b, C, H, W) of the slopes."""

    mean: Tensor
    momentum: float
    length: float
    norm: Norm

    def step(self, slope: Tensor) -> Tensor:
        """Take the slope into the mean and return the steepest step of the norm."""
        self.mean = self.momentum * self.mean + (1 - self.momentum) * slope
        return self.length * (self.mean.sign() if self.norm == "linf" else unit(self.mean))

    def keep(self, which: Tensor) -> None:
        """Go on with some of the images only."""
        self.mean = self.mean[which]

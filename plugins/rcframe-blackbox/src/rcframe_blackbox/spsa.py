"""Simultaneous perturbation stochastic approximation (Uesato et al., 2018)."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, more_than, option
from rcframe_blackbox.ascent import Slope, climb

#: The step size of the paper, in pixels.
_LR = 0.01


@component
class SPSA(Attack):
    """Adam on gradients that are estimated from the scores of random corners around a point.

    Uesato, O'Donoghue, van den Oord, Kohli: "Adversarial Risk and the Dangers of Evaluating Against Weak Attacks" (ICML
    2018). Untargeted, true labels, on the margin of logits. The paper works in linf; in l2 the same steps are projected
    into the other ball. The default asks for far fewer corners than the paper: see the README.
    """

    steps: int = option(default=40, help="The most steps of Adam per image.", check=at_least(1))
    pairs: int = option(default=32, help="Pairs of opposite corners asked for per step.", check=at_least(1))
    delta: float = option(default=0.01, help="Distance of a corner in each pixel.", check=more_than(0))
    lr: float | None = option(
        default=None,
        help="Step size of Adam in pixels; none is 0.01, or 5 eps / steps, in l2 over sqrt(d), if that is more.",
        check=more_than(0),
    )
    early_stop: bool = option(
        default=True, help="Whether to ask before each step for the point itself, and stay there once it errs."
    )

    access = Access.LOGITS
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + adam(g_t))`, g_t the gradient estimated at x_t."""
        mover = Adam(torch.zeros_like(x), torch.zeros_like(x), self._lr(x, threat))
        slope = Slope(source, threat, self.pairs, self.delta, corners)
        return climb(x, y, slope, mover, self.steps, early_stop=self.early_stop)

    def stronger(self) -> SPSA:
        """Return it with twice the corners."""
        return changed(self, pairs=2 * self.pairs)

    def thorough(self) -> SPSA:
        """Return it taking every step."""
        return changed(self, early_stop=False)

    def _lr(self, x: Tensor, threat: Threat) -> float:
        """Return the step size, which has to lead to the surface of a large ball in far fewer steps than there are."""
        if self.lr is not None:
            return self.lr
        reach = threat.eps if threat.norm == "linf" else threat.eps / math.sqrt(x[0].numel())
        return max(_LR, 5 * reach / self.steps)


def corners(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return directions whose every entry is 1 or -1."""
    return torch.randint(0, 2, shape, device=like.device).to(like.dtype) * 2 - 1


@attrs.define(eq=False)
class Adam:
    """Steps of Adam (Kingma & Ba, 2015) with its usual settings, upwards."""

    mean: Tensor
    square: Tensor
    lr: float
    steps: int = 0

    def step(self, slope: Tensor) -> Tensor:
        """Take the slope into both running means and return their quotient, without the bias of their start."""
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope.square()
        scale = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        return self.lr * self.mean / (1 - 0.9**self.steps) / scale

    def keep(self, which: Tensor) -> None:
        """Go on with some of the images only."""
        self.mean, self.square = self.mean[which], self.square[which]

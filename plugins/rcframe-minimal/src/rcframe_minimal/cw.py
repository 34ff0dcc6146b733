"""The l2 attack of Carlini and Wagner (2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, more_than, option
from rcframe_minimal.descent import Descent, Nearest, from_unbounded, to_unbounded
from rcframe_minimal.margins import lead

#: So often during one c the loss is looked at, and by this fraction it has to fall in between; from the authors' code.
_LOOKS = 10
_PROGRESS = 1e-4


@component
class CW(Attack):
    """Minimises distance^2 + c * (how far the label still leads), for several c, over images written as a tanh.

    Carlini, Wagner: "Towards Evaluating the Robustness of Neural Networks" (IEEE S&P 2017). Untargeted, true labels;
    deterministic. Where some c leads to a misclassification a smaller one is tried, elsewhere a larger one. The nearest
    misclassified image met is returned; where there is none, the image as it was. The defaults take fewer and larger
    steps than the authors': the README says what that costs.
    """

    steps: int = option(default=100, help="Steps of Adam for each c.", check=at_least(1))
    searches: int = option(default=6, help="How many values of c are tried for each image.", check=at_least(1))
    lr: float = option(default=0.1, help="Step size of Adam, before the tanh.", check=more_than(0))
    initial_c: float = option(
        default=0.1, help="The first c: what a lead of 1 of the label's logit costs.", check=more_than(0)
    )
    kappa: float = option(
        default=0.0, help="By how much another logit must exceed the label's to count.", check=at_least(0)
    )
    abort_early: bool = option(
        default=True, help="Whether an image is done with a c once a tenth of the steps gained nothing."
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("l2",)
    nearest = True

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the nearest misclassified image met for each of `x`, whatever its distance."""
        right = source.logits(x).argmax(dim=1) == y
        found = x.clone()
        if right.any():
            found[right] = self._search(source, x[right], y[right], threat.bounds)
        return found

    def stronger(self) -> CW:
        """Return it with twice the steps for each c, and half as many c again."""
        more = {"steps": 2 * self.steps, "searches": self.searches + (self.searches + 1) // 2}
        return changed(self, **more)

    def _search(self, source: Oracle, x: Tensor, y: Tensor, bounds: tuple[float, float]) -> Tensor:
        """Take ten times the c until one breaks the image, or a tenth until one does not, then the means of both."""
        nearest = Nearest.to(x)
        c = torch.full_like(nearest.distance, self.initial_c)
        low, high = torch.zeros_like(c), torch.full_like(c, float("inf"))
        for _ in range(self.searches):
            broke = self._minimise(source, x, y, c, bounds, nearest)
            high, low = torch.where(broke, c, high), torch.where(broke, low, c)
            c = torch.where(high.isinf(), 10 * c, torch.where(low == 0, c / 10, (low + high) / 2))
        return nearest.images

    def _minimise(
        self, source: Oracle, x: Tensor, y: Tensor, c: Tensor, bounds: tuple[float, float], nearest: Nearest
    ) -> Tensor:
        """Equation: `min_w ||x'(w) - x||^2 + c max(lead(x'(w)) + kappa, 0)`; return which images (B,) broke on the way.

        What is met is noted in `nearest`.
        """
        broke = torch.zeros_like(y, dtype=torch.bool)
        left = torch.arange(len(x), device=x.device)
        start = to_unbounded(x, bounds)
        centre, descent = from_unbounded(start, bounds), Descent.at(start, self.lr)
        lowest = before = torch.full_like(c, float("inf"))
        every = math.ceil(self.steps / _LOOKS)
        for step in range(self.steps):
            w = descent.point.requires_grad_(True)
            images = from_unbounded(w, bounds)
            ahead = lead(source.logits(images), y[left]) + self.kappa
            loss = (images - centre[left]).flatten(1).square().sum(dim=1) + c[left] * ahead.clamp_min(0)
            (gradient,) = torch.autograd.grad(loss.sum(), w)
            met, done = images.detach(), ahead.detach() < 0
            nearest.note(left, met, (met - x[left]).flatten(1).norm(dim=1), done)
            broke[left] |= done
            descent.step(gradient)
            lowest = torch.minimum(lowest, loss.detach())
            # Only now and then, since asking which images go on waits for the device.
            if self.abort_early and step % every == every - 1:
                gains = lowest <= (1 - _PROGRESS) * before
                left, lowest = left[gains], lowest[gains]
                before = lowest
                descent.keep(gains)
                if not len(left):
                    break
        return broke

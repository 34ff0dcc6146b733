"""Projected gradient descent (Madry et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, component, more_than, option
from rcframe_attacks.objective import ascent_direction, confusion


@component
class PGD(Attack):
    """Gradient steps, projected back into the threat after each, from a random start.

    Madry, Makelov, Schmidt, Tsipras, Vladu: "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR
    2018). Untargeted, true labels. The step is `step_size`, in pixels, or 2.5 eps / steps if that is none. With
    several `restarts` the most confusing result per image is kept, any misclassification before none.
    """

    steps: int = option(default=20, help="Gradient steps.", check=at_least(1))
    step_size: float | None = option(
        default=None, help="Length of a step in pixels; none is 2.5 eps / steps.", check=more_than(0)
    )
    random_start: bool = option(default=True, help="Whether to start at a random point of the threat.")
    restarts: int = option(default=1, help="Tries per image; they only differ with a random start.", check=at_least(1))

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the best of `restarts` tries for every image."""
        best = self._climb(source, x, y, threat)
        if self.restarts == 1:
            return best
        worst_case = _badness(source, best, y)
        for _ in range(self.restarts - 1):
            tried = self._climb(source, x, y, threat)
            badness = _badness(source, tried, y)
            better = badness > worst_case
            best = torch.where(better.view(-1, *[1] * (x.dim() - 1)), tried, best)
            worst_case = torch.maximum(badness, worst_case)
        return best

    def _climb(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step direction(grad_x J(x_t, y)))`."""
        step = self.step_size if self.step_size is not None else 2.5 * threat.eps / self.steps
        x_adv = threat.project(random_point(x, threat), x) if self.random_start else x
        for _ in range(self.steps):
            x_adv = threat.project(x_adv + step * _direction(ascent_direction(source, x_adv, y), threat), x)
        return x_adv


def _direction(gradient: Tensor, threat: Threat) -> Tensor:
    """Return the steepest unit step (B, C, H, W) in the threat's norm."""
    if threat.norm == "linf":
        return gradient.sign()
    length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1).clamp_min(1e-12)
    return gradient / length.view(-1, *[1] * (gradient.dim() - 1))


def random_point(x: Tensor, threat: Threat) -> Tensor:
    """Return points (B, C, H, W) drawn uniformly from the balls around `x`, pixel range aside."""
    if threat.norm == "linf":
        return x + torch.empty_like(x).uniform_(-threat.eps, threat.eps)
    direction = torch.randn_like(x).flatten(1)
    length: Tensor = torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(1e-12)
    radius = torch.rand(len(x), 1, device=x.device, dtype=x.dtype) ** (1 / direction.shape[1])
    return x + (threat.eps * radius * direction / length).view_as(x)


def _badness(source: Oracle, x_adv: Tensor, y: Tensor) -> Tensor:
    """Rank results (B,): every misclassified image above every other, then by confusion."""
    with torch.no_grad():
        logits = source.logits(x_adv)
    wrong = logits.argmax(dim=1) != y
    return torch.where(wrong, float("inf"), confusion(logits, y))

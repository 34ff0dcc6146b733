"""The inner maximisation: images within a threat on which a network does badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, component, more_than, option

#: Deviation of the noise that `gaussian` starts from: where two answers are equal, nothing says which way they part.
NOISE = 1e-3

#: What is climbed: logits (B, classes) to a sum over images.
Objective = Callable[[Tensor], Tensor]


@component
class Climb(Attack):
    """Gradient steps of one length, projected back after each, that never stop early.

    Towards `labels` they climb away from the right answer, towards `answers` away from what the network says of the
    image as it is.
    """

    steps: int = option(default=10, help="Gradient steps.", check=at_least(1))
    step_size: float | None = option(
        default=None, help="Length of a step in pixels; none is eps / 4.", check=more_than(0)
    )
    start: Literal["uniform", "gaussian"] = option(
        default="uniform", help="Where to start: anywhere in the threat, or next to the image."
    )
    away_from: Literal["labels", "answers"] = option(default="labels", help="What to get away from.")

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step direction(grad objective(x_t)))`."""
        if self.away_from == "labels":
            return self._climb(confusion_with(y), source, x, threat)
        # Half precision would round the noise away, and where two answers are equal there is no direction to climb.
        with torch.autocast(x.device.type, enabled=False):
            return self._climb(divergence_from(source.logits(x)), source, x, threat)

    def _climb(self, objective: Objective, source: Oracle, x: Tensor, threat: Threat) -> Tensor:
        step = threat.eps / 4 if self.step_size is None else self.step_size
        begun = threat.random_point(x) if self.start == "uniform" else x + NOISE * torch.randn_like(x)
        moved = threat.project(begun, x)
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(source.logits(moved)), moved)
            moved = threat.project(moved.detach() + step * threat.steepest(gradient), x)
        return moved


def confusion_with(y: Tensor) -> Objective:
    """Return `sum over images of log sum_{j != y} exp z_j - z_y` for labels `y` (B,).

    Cross-entropy is `log(1 + exp(that))`, so both rise in the same direction; this one still does where a confident
    network's cross-entropy underflows to 0.
    """

    def objective(logits: Tensor) -> Tensor:
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        return (others(logits, y).logsumexp(dim=1) - own).sum()

    return objective


def others(logits: Tensor, y: Tensor) -> Tensor:
    """Return logits (B, classes) with those of the labels `y` (B,) at minus infinity."""
    return logits.scatter(1, y.unsqueeze(1), float("-inf"))


def divergence_from(answers: Tensor) -> Objective:
    """Return the sum over images of KL(softmax(answers) || softmax(z)); `answers` (B, classes) stand still."""
    log_p = answers.detach().log_softmax(dim=1)

    def objective(logits: Tensor) -> Tensor:
        return (log_p.exp() * (log_p - logits.log_softmax(dim=1))).sum()

    return objective

"""The inner maximisation: images within a threat for which a network answers badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs
import torch
from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat

#: Where the steps begin: anywhere in the threat, or next to the image.
Start = Literal["uniform", "gaussian"]
#: What is climbed: logits (B, classes) to a sum over images.
Objective = Callable[[Tensor], Tensor]
#: Deviation of the noise that `gaussian` starts from.
_NOISE = 1e-3


@attrs.frozen(kw_only=True, eq=False)
class Ascent(Attack):
    """Gradient steps of one length, projected back after each, that never stop early."""

    steps: int
    #: Length of a step in pixels; None is a quarter of the radius.
    step_size: float | None = None
    start: Start = "uniform"
    #: Logits (B, classes) to get away from, for the images of one batch; None is the labels.
    answers: Tensor | None = attrs.field(default=None, repr=False)

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step direction(grad objective(x_t)))`."""
        objective = away_from_labels(y) if self.answers is None else away_from_answers(self.answers)
        length = threat.eps / 4 if self.step_size is None else self.step_size
        moved = threat.project(self._begun(x, threat), x)
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(source.logits(moved)), moved)
            moved = threat.project(moved.detach() + length * threat.steepest(gradient), x)
        return moved

    def _begun(self, x: Tensor, threat: Threat) -> Tensor:
        if self.start == "gaussian":
            return x + _NOISE * torch.randn_like(x)
        return threat.random_point(x)


def away_from_labels(y: Tensor) -> Objective:
    """Return `sum over images of log sum_{j != y} exp z_j - z_y` for labels `y` (B,).

    It rises in the same direction as cross-entropy, and still does where that underflows to 0.
    """

    def objective(logits: Tensor) -> Tensor:
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        others = logits.scatter(1, y.unsqueeze(1), float("-inf"))
        return (others.logsumexp(dim=1) - own).sum()

    return objective


def away_from_answers(answers: Tensor) -> Objective:
    """Return `sum over images of -sum_k q_k log softmax(z)_k` with `q = softmax(answers)` (B, classes).

    It rises in the same direction as KL(q || softmax(z)), and takes classes that q rules out.
    """
    q = answers.detach().softmax(dim=1)

    def objective(logits: Tensor) -> Tensor:
        return -(q * logits.log_softmax(dim=1)).sum()

    return objective

"""The inner maximisation of methods that train on images they craft: gradient steps that never stop early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import attrs
import torch
from torch import Tensor

from rcframe.access import Access
from rcframe.api import Attack

if TYPE_CHECKING:
    from rcframe.evaluation.oracle import Oracle
    from rcframe.evaluation.threat import Threat

#: What is climbed: logits (B, classes) to a sum over images.
Objective = Callable[[Tensor], Tensor]
#: Deviation of the noise that `gaussian` starts from: where two answers are equal, nothing says which way they part.
_NOISE = 1e-3


def _described(away_from: str | Tensor) -> str:
    return repr(away_from) if isinstance(away_from, str) else "given answers"


@attrs.frozen(kw_only=True, eq=False)
class Climb(Attack):
    """Gradient steps of one length, projected back after each, that never stop early. Added in API 1.4.

    They lead away from the labels, from what the network answers for the images as they are, or from the answers that
    are given as logits (B, classes), such as a teacher's for the images of one batch.
    """

    steps: int = 10
    #: Length of a step in pixels; None is a quarter of the radius.
    step_size: float | None = None
    #: Where the steps begin: anywhere in the threat, or next to the image.
    start: Literal["uniform", "gaussian"] = "uniform"
    away_from: Literal["labels", "answers"] | Tensor = attrs.field(default="labels", repr=_described)

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x_{t+1} = project(x_t + step direction(grad objective(x_t)))`."""
        if isinstance(self.away_from, Tensor):
            return self._climb(away_from_answers(self.away_from.softmax(dim=1)), source, x, threat)
        if self.away_from == "labels":
            return self._climb(away_from_labels(y), source, x, threat)
        # Half precision would round the noise away, and where two answers are equal there is no direction to climb.
        with torch.autocast(x.device.type, enabled=False):
            return self._climb(away_from_answers(source.logits(x).log_softmax(dim=1).exp()), source, x, threat)

    def _climb(self, objective: Objective, source: Oracle, x: Tensor, threat: Threat) -> Tensor:
        length = threat.eps / 4 if self.step_size is None else self.step_size
        begun = threat.random_point(x) if self.start == "uniform" else x + _NOISE * torch.randn_like(x)
        moved = threat.project(begun, x)
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(source.logits(moved)), moved)
            moved = threat.project(moved.detach() + length * threat.steepest(gradient), x)
        return moved


def away_from_labels(y: Tensor) -> Objective:
    """Return `sum over images of log sum_{j != y} exp z_j - z_y` for labels `y` (B,).

    Cross-entropy is `log(1 + exp(that))`, so both rise in the same direction; this one still does where a confident
    network's cross-entropy underflows to 0.
    """

    def objective(logits: Tensor) -> Tensor:
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        others = logits.scatter(1, y.unsqueeze(1), float("-inf"))
        return (others.logsumexp(dim=1) - own).sum()

    return objective


def away_from_answers(q: Tensor) -> Objective:
    """Return `sum over images of -sum_k q_k log softmax(z)_k` for probabilities `q` (B, classes), which stand still.

    It rises in the same direction as KL(q || softmax(z)), and takes classes that q rules out.
    """
    wanted = q.detach()

    def objective(logits: Tensor) -> Tensor:
        return -(wanted * logits.log_softmax(dim=1)).sum()

    return objective

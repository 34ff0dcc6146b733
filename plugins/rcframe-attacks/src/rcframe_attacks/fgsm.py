"""The fast gradient method: one step (Goodfellow et al., 2015)."""

from __future__ import annotations

from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, component
from rcframe_attacks.objective import ascent_direction


@component
class FGSM(Attack):
    """One step of length eps along the sign of the input gradient.

    Goodfellow, Shlens, Szegedy: "Explaining and Harnessing Adversarial Examples" (ICLR 2015). Untargeted, true labels.
    """

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf",)
    iterated = False

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x + eps sign grad_x J(x, y)`."""
        return _one_step(source, x, y, threat)


@component
class FGM(Attack):
    """One step of length eps along the input gradient itself: the method of `fgsm` where distance is Euclidean.

    The L2 form of Goodfellow, Shlens, Szegedy: "Explaining and Harnessing Adversarial Examples" (ICLR 2015), as
    attack libraries have it. Untargeted, true labels.
    """

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("l2",)
    iterated = False

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x + eps grad_x J(x, y) / ||grad_x J(x, y)||_2`."""
        return _one_step(source, x, y, threat)


def _one_step(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return x + threat.eps * threat.steepest(ascent_direction(source, x, y))

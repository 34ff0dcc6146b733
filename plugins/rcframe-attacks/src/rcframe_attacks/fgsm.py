"""The fast gradient sign method (Goodfellow et al., 2015)."""

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

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `x + eps sign grad_x J(x, y)`."""
        return x + threat.eps * ascent_direction(source, x, y).sign()

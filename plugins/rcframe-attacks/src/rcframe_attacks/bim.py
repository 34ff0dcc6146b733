"""The basic iterative method (Kurakin et al., 2017)."""

from __future__ import annotations

from torch import Tensor

from rcframe import Oracle, Threat, component
from rcframe_attacks.iterated import Iterated


@component
class BIM(Iterated):
    """Gradient steps from the image itself, projected back into the threat after each.

    Kurakin, Goodfellow, Bengio: "Adversarial Examples in the Physical World" (ICLR workshop 2017). Untargeted, true
    labels. The paper's steps are one grey level long, 1/255, and as many as eps in grey levels needs; here they
    reach eps in all unless one says otherwise. With one step this is `fgsm`, in l2 `fgm`.
    """

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Climb from the images."""
        return self.ascent(threat).climb(source, x, x, y)

"""The momentum iterative method (Dong et al., 2018)."""

from __future__ import annotations

from torch import Tensor

from rcframe import Oracle, Threat, at_least, component, option
from rcframe_attacks.iterated import Iterated


@component
class MIM(Iterated):
    """Steps along a running sum of gradients, which crosses narrow bumps and transfers better to other networks.

    Dong, Liao, Pang, Su, Zhu, Hu, Li: "Boosting Adversarial Attacks with Momentum" (CVPR 2018). Untargeted, true
    labels, one network. Every gradient is divided by its sum of absolute values before it is added.
    """

    mu: float = option(default=1.0, help="What remains of the sum from one step to the next.", check=at_least(0))

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Climb from the images, with momentum."""
        return self.ascent(threat, momentum=self.mu).climb(source, x, x, y)

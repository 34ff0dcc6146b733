"""Projected gradient descent (Madry et al., 2018)."""

from __future__ import annotations

from torch import Tensor

from rcframe import Oracle, Threat, at_least, changed, component, option
from rcframe_attacks.aims import Target, aims
from rcframe_attacks.iterated import Iterated
from rcframe_attacks.objective import Loss, objective
from rcframe_attacks.worst import WorstCase


@component
class PGD(Iterated):
    """Gradient steps, projected back into the threat after each, from a random start.

    Madry, Makelov, Schmidt, Tsipras, Vladu: "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR
    2018). With several tries per image (`restarts`, or targets), the most confusing result is kept, any
    misclassification before none. Trying every other class as a target is the multi-targeted attack of Gowal et al.,
    "An Alternative Surrogate Loss for PGD-based Adversarial Testing" (2019).
    """

    random_start: bool = option(default=True, help="Whether to start at a random point of the threat.")
    restarts: int = option(
        default=1, help="Tries per image; they only differ with a random start or target.", check=at_least(1)
    )
    loss: Loss = option(
        default="ce",
        help="What rises: cross-entropy, the margin of Carlini and Wagner, or the difference of logits ratio.",
    )
    target: Target = option(
        default="none", help="The class to move towards: none, one of the others, or all of them in turn."
    )
    targets: int | None = option(
        default=None, help="How many classes target=all tries, the most likely first; none is all.", check=at_least(1)
    )

    reach = 2.5

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the best of all tries for every image."""
        ascent = self.ascent(threat, objective(self.loss))
        tries = aims(self.target, source, x, y, rounds=self._rounds, most=self.targets)
        if len(tries) == 1:
            return ascent.climb(source, self._start(x, threat), x, y, tries[0])
        worst = WorstCase.of(x)
        for targets in tries:
            # Drawn for all, so that which images are broken does not decide where the others start.
            start = self._start(x, threat)
            here = worst.unbroken() if self.early_stop else worst.everywhere()
            if not len(here):
                break
            aimed = None if targets is None else targets[here]
            worst.note(here, ascent.climb(source, start[here], x[here], y[here], aimed), y[here], source)
        return worst.points

    @property
    def _rounds(self) -> int:
        """How often all tries are repeated; repetitions that could find nothing new are left out."""
        return self.restarts if self.random_start or self.target == "random" else 1

    def _start(self, x: Tensor, threat: Threat) -> Tensor:
        return threat.project(threat.random_point(x), x) if self.random_start else x

    def stronger(self) -> PGD:
        """Return this attack with twice the steps and, where tries differ, twice the restarts."""
        restarts = 2 * self.restarts if self.random_start else self.restarts
        return changed(self, steps=2 * self.steps, restarts=restarts)

"""What the iterated attacks have in common besides their loop: the length of a step, and how to try harder."""

from __future__ import annotations

from typing import ClassVar

from rcframe import Access, Attack, RequestError, Threat, at_least, changed, component, more_than, option
from rcframe_attacks.loop import Ascent
from rcframe_attacks.objective import Objective, cross_entropy


@component
class Iterated(Attack):
    """An attack that takes `steps` steps of one length."""

    steps: int = option(default=20, help="Gradient steps.", check=at_least(1))
    step_size: float | None = option(
        default=None,
        help="Length of a step in pixels; none is 2.5 eps / steps for pgd, and eps / steps for bim and mim.",
        check=more_than(0),
    )
    rel_step_size: float | None = option(
        default=None, help="Length of a step as a fraction of eps, in place of step_size.", check=more_than(0)
    )
    early_stop: bool = option(
        default=True, help="Whether an image stays as it is once it is misclassified, which saves most of the work."
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")
    #: How far all steps together go by default, in radii.
    reach: ClassVar[float] = 1.0

    def __attrs_post_init__(self) -> None:
        """Refuse two lengths of one step."""
        if self.step_size is not None and self.rel_step_size is not None:
            raise RequestError(
                f"`{type(self).__name__}` was given step_size={self.step_size} (in pixels) and "
                f"rel_step_size={self.rel_step_size} (a fraction of eps): give one of them."
            )

    def step(self, threat: Threat) -> float:
        """Return the length of a step in pixels."""
        if self.step_size is not None:
            return self.step_size
        fraction = self.rel_step_size if self.rel_step_size is not None else self.reach / self.steps
        return fraction * threat.eps

    def ascent(self, threat: Threat, climbed: Objective = cross_entropy, momentum: float | None = None) -> Ascent:
        """Return how the steps go."""
        return Ascent(
            objective=climbed,
            threat=threat,
            steps=self.steps,
            step=self.step(threat),
            momentum=momentum,
            early_stop=self.early_stop,
        )

    def stronger(self) -> Iterated:
        """Return this attack with twice the steps; unless their length was given, they are half as long."""
        return changed(self, steps=2 * self.steps)

    def thorough(self) -> Iterated:
        """Return this attack with every step taken."""
        return changed(self, early_stop=False)

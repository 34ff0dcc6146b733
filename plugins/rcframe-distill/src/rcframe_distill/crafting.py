"""What students have in common that learn on images crafted against themselves."""

from __future__ import annotations

from typing import Literal

import attrs
from torch import Tensor, nn

from rcframe import (
    Climb,
    Distillation,
    InnerAttack,
    RequestError,
    Run,
    Threat,
    at_least,
    component,
    make_threat,
    more_than,
    option,
)

#: Where the method's own steps begin: anywhere in the threat, or next to the image.
Start = Literal["uniform", "gaussian"]


@component
class Crafting(Distillation):
    """A student that learns on images crafted against itself, while the teacher answers for the images as they are.

    The teacher never sees a crafted image, so that its answers can be remembered.
    """

    attack: str | None = option(
        default=None, help="Attack that crafts the images, as a spec string; none is the method's own gradient steps."
    )
    steps: int = option(default=10, help="Gradient steps of the method's own.", check=at_least(1))
    step_size: float | None = option(
        default=None, help="Length of such a step in pixels; none is a quarter of the radius.", check=more_than(0)
    )
    start: Start = option(
        default="uniform", help="Where such steps begin: anywhere in the threat, or next to the image."
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a radius that makes no sense."""
        super().__attrs_post_init__()
        self.threat(0.0)

    def preparation(self, run: Run, target: nn.Module) -> None:
        """Leave every batch as it is: the step crafts, and needs both the images and what becomes of them."""

    def crafting(self, run: Run, student: nn.Module) -> InnerAttack:
        """Return what crafts images against `student`."""
        given = super().preparation(run, student)
        if isinstance(given, InnerAttack):
            return given
        own = Climb(steps=self.steps, step_size=self.step_size, start=self.start)
        return InnerAttack(attack=own, network=student, threat=self.threat(run.info.eps), mode=self.attack_mode)

    def threat(self, customary: float) -> Threat:
        """Return where crafted images may lie; `customary` is the data set's radius in linf."""
        if self.attack_eps is None and self.attack_norm != "linf":
            raise RequestError(
                f"`{type(self).__name__}` has no radius in {self.attack_norm}, since the data set's customary one is "
                f"for linf: set `attack_eps`."
            )
        return make_threat(customary if self.attack_eps is None else self.attack_eps, self.attack_norm)


def away_from(inner: InnerAttack, answers: Tensor) -> InnerAttack:
    """Return the same crafting away from `answers` (B, classes); an attack of the user's keeps its own aim."""
    if not isinstance(inner.attack, Climb):
        return inner
    return attrs.evolve(inner, attack=attrs.evolve(inner.attack, away_from=answers))

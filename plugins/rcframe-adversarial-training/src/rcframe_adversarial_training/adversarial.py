"""Training on the images that iterated gradient steps make (Madry et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn

from rcframe import InnerAttack, Run, Stage, at_least, component, option, supervised
from rcframe_adversarial_training.hardening import HardStudent, HardTeacher, Iterated


@component
class Adversarial(Iterated):
    """Learns from labels on attacked images alone.

    Madry, Makelov, Schmidt, Tsipras, Vladu: "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR
    2018): gradient steps of cross-entropy from a random point of the threat, true labels. As in the authors' code,
    batch norm is in training mode while images are attacked; unlike there, its running statistics stay where they are
    meanwhile.
    """

    steps: int = option(default=7, help="Steps of the inner attack.", check=at_least(1))
    mode: Literal["eval", "train"] = option(
        default="train", help="Whether batch norm and dropout evaluate or train inside the inner attack."
    )

    def preparation(self, run: Run, target: nn.Module) -> InnerAttack:
        """Return the inner attack on `target`."""
        return self.inner(target, run, start="uniform")

    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Equation (2.1): minimise the largest loss that the inner attack finds."""
        yield self.stage(run, network, supervised)


@component
class AdversarialTeacher(Adversarial, HardTeacher):
    """Learns from labels on attacked images alone (Madry et al., ICLR 2018)."""


@component
class AdversarialStudent(Adversarial, HardStudent):
    """Learns from labels on attacked images alone (Madry et al., ICLR 2018)."""

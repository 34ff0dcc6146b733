"""Adversarial distillation (Barmpas, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from rcframe import Access, Batch, Data, Oracle, Run, Stage, accuracy, component, kl_divergence, more_than, option
from rcframe_distill.crafting import Crafting
from rcframe_distill.logits import logit_loss, tell_of_gaps
from rcframe_distill.schedules import Presets


@component
class AdversarialDistill(Crafting):
    """Gives the teacher's answers for images that are crafted against itself, without labels.

    Barmpas: "Certifying Properties of Deep Networks by Taking them into Shallow Waters" (2020), section 4.2.3: the
    teacher answers for an image, the student for what was crafted from it against the student of the moment. Images
    are crafted anew for every batch, around the image itself; in the thesis' notebook, each epoch starts from the
    crafted images of the epoch before, so that they drift away.
    """

    loss: Literal["mse", "kl"] = option(
        default="mse", help="What is made small: the mean square of the logits' difference, or T^2 KL."
    )
    temperature: float = option(default=4.0, help="Temperature of both softmaxes of `kl`.", check=more_than(0))
    away_from: Literal["teacher", "student"] = option(
        default="teacher", help="Whose top answer for the image the crafted one gets away from."
    )

    access = Access.LOGITS
    data = Data.INPUTS
    presets: ClassVar[Presets] = {
        "thesis": {"batch_size": 128, "attack_eps": 0.01, "steps": 20, "step_size": 0.002, "away_from": "student"}
    }

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on crafted images and the teacher's answers for those they were crafted from."""
        answers, inner = self.answers(run, teacher), self.crafting(run, student)

        def step(stage: Stage, batch: Batch) -> None:
            wanted = answers.logits(batch)
            tell_of_gaps(stage, wanted)
            top = wanted.argmax(dim=1)
            crafted = stage.module(inner.craft(batch.images, top if self.away_from == "teacher" else None))
            stage.update(self.distance(crafted, wanted), attacked_agreement=accuracy(crafted, top))

        yield self.stage(run, student, step, players={"answers": answers}, determined_by=inner.identity())

    def distance(self, crafted: Tensor, wanted: Tensor) -> Tensor:
        """Equation (4): `mean (z_T(x) - z_S(x'))^2`, or `T^2 KL(softmax(z_T(x)/T) || softmax(z_S(x')/T))`.

        `crafted` are the student's logits (B, classes) for the crafted images, `wanted` the teacher's for the images.
        """
        if self.loss == "mse":
            return logit_loss(crafted, wanted)
        return self.temperature**2 * kl_divergence(wanted, crafted, self.temperature)

"""Adversarial distillation (Barmpas, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    RequestError,
    Run,
    Stage,
    accuracy,
    component,
    kl_divergence,
    more_than,
    option,
)
from rcframe_distill.crafting import Crafting
from rcframe_distill.drift import Drift
from rcframe_distill.logits import logit_loss, tell_of_gaps
from rcframe_distill.schedules import Presets


@component
class AdversarialDistill(Crafting):
    """Gives the teacher's answers for images that are crafted against itself, without labels.

    Barmpas: "Certifying Properties of Deep Networks by Taking them into Shallow Waters" (2020), section 4.2.3: the
    teacher answers for an image, the student for what was crafted from it against the student of the moment. Images
    are crafted anew for every batch, around the image itself. In the thesis' notebook, each epoch starts from the
    crafted images of the epoch before, so that they drift away: `drift`.
    """

    loss: Literal["mse", "kl"] = option(
        default="mse", help="What is made small: the mean square of the logits' difference, or T^2 KL."
    )
    temperature: float = option(default=4.0, help="Temperature of both softmaxes of `kl`.", check=more_than(0))
    away_from: Literal["teacher", "student"] = option(
        default="teacher", help="Whose top answer for the image the crafted one gets away from."
    )
    drift: bool = option(
        default=False,
        help="Whether each epoch crafts from the crafted images of the epoch before, around those, so that they drift "
        "away; all images are kept in memory.",
    )

    access = Access.LOGITS
    data = Data.INPUTS
    presets: ClassVar[Presets] = {
        "thesis": {"batch_size": 128, "attack_eps": 0.01, "steps": 20, "step_size": 0.002, "away_from": "student"}
    }

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # What the kernel asks of a class, it finds on this one object.
        object.__setattr__(self, "ignores_ruled_out", self.loss == "mse")

    def check_run(self, run: Run) -> None:
        """Refuse images that cannot be told again in the next epoch."""
        super().check_run(run)
        if self.drift and run.data.augment:
            raise RequestError(
                f"Crafted images are to be carried from epoch to epoch (drift=true), but the training images are "
                f"changed anew in every epoch (augment={'+'.join(run.data.augment)}): leave out one of the two."
            )

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on crafted images and the teacher's answers for those they were crafted from."""
        answers, inner = self.answers(run, teacher), self.crafting(run, student)
        drift = Drift(answers.images, run.compute) if self.drift else None

        def step(stage: Stage, batch: Batch) -> None:
            wanted = answers.logits(batch)
            if self.ignores_ruled_out:
                tell_of_gaps(stage, wanted)
            top = wanted.argmax(dim=1)
            aim = top if self.away_from == "teacher" else None
            moved = inner.craft(batch.images, aim) if drift is None else drift.craft(inner, batch, aim)
            crafted = stage.module(moved)
            stage.update(self.distance(crafted, wanted), attacked_agreement=accuracy(crafted, top))

        carried = {} if drift is None else {"drift": drift}
        yield self.stage(run, student, step, players={"answers": answers, **carried}, determined_by=inner.identity())

    def distance(self, crafted: Tensor, wanted: Tensor) -> Tensor:
        """Equation (4): `mean (z_T(x) - z_S(x'))^2`, or `T^2 KL(softmax(z_T(x)/T) || softmax(z_S(x')/T))`.

        `crafted` are the student's logits (B, classes) for the crafted images, `wanted` the teacher's for the images.
        """
        if self.loss == "mse":
            return logit_loss(crafted, wanted)
        return self.temperature**2 * kl_divergence(wanted, crafted, self.temperature)

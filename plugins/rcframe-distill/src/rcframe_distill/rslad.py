"""Robust soft label adversarial distillation (Zi et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from rcframe import Access, Batch, Data, Oracle, Run, Stage, accuracy, between, component, kl_divergence, option
from rcframe_distill.crafting import Crafting, Start, away_from
from rcframe_distill.schedules import ROBUST, Presets


@component
class RSLAD(Crafting):
    """Gives the teacher's outputs on images and on attacked ones, without labels and without temperature.

    Zi, Zhao, Ma, Jiang: "Revisiting Adversarial Robustness Distillation: Robust Soft Labels Make Student Better" (ICCV
    2021). The attack gets away from the teacher's outputs for the image, too, and starts next to the image.
    """

    alpha: float = option(
        default=5 / 6, help="Weight of attacked images against the images themselves.", check=between(0, 1)
    )
    start: Start = option(
        default="gaussian", help="Where the method's own steps begin: anywhere in the threat, or next to the image."
    )

    access = Access.LOGITS
    data = Data.INPUTS
    presets: ClassVar[Presets] = {"cifar10": {**ROBUST, "epochs": 300, "milestones": (215, 260, 285)}}

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (7)."""
        answers, inner = self.answers(run, teacher), self.crafting(run, student)

        def step(stage: Stage, batch: Batch) -> None:
            wanted = answers.logits(batch)
            top = wanted.argmax(dim=1)
            attacked = stage.module(away_from(inner, wanted).craft(batch.images, top))
            clean = stage.module(batch.images)
            stage.update(
                rslad_loss(clean, attacked, wanted, self.alpha),
                train_agreement=accuracy(clean, top),
                attacked_agreement=accuracy(attacked, top),
            )

        yield self.stage(run, student, step, players={"answers": answers}, determined_by=inner.identity())


def rslad_loss(clean: Tensor, attacked: Tensor, teacher_logits: Tensor, alpha: float) -> Tensor:
    """Equation (7): `alpha KL(p(x) || q(x')) + (1 - alpha) KL(p(x) || q(x))`, mean over the batch.

    p is the teacher's softmax and q the student's; `clean` and `attacked` are the student's logits (B, classes).
    """
    robust, natural = (kl_divergence(teacher_logits, logits, 1.0) for logits in (attacked, clean))
    return alpha * robust + (1 - alpha) * natural

"""Adversarially robust distillation (Goldblum et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    Run,
    Stage,
    accuracy,
    between,
    component,
    kl_divergence,
    more_than,
    option,
    weighted_sum,
)
from rcframe_distill.crafting import Crafting
from rcframe_distill.schedules import ROBUST, Presets


@component
class ARD(Crafting):
    """Gives the teacher's softened outputs on attacked images, and the labels on the images themselves.

    Goldblum, Fowl, Feizi, Goldstein: "Adversarially Robust Distillation" (AAAI 2020). Images are attacked away from
    their labels. With `alpha` = 1, as the authors have it, nothing else reads labels, and the student never sees an
    image that is not attacked.
    """

    alpha: float = option(default=1.0, help="Weight of the teacher's outputs against the labels.", check=between(0, 1))
    temperature: float = option(default=30.0, help="Temperature of both softmaxes.", check=more_than(0))

    access = Access.LOGITS
    data = Data.LABELLED
    presets: ClassVar[Presets] = {
        "cifar10": {**ROBUST, "epochs": 200, "milestones": (100, 150), "attack_mode": "train"},
        "cifar100": {**ROBUST, "epochs": 200, "milestones": (100, 150), "attack_mode": "train", "batch_size": 256},
    }

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (5)."""
        answers, inner = self.answers(run, teacher), self.crafting(run, student)

        def step(stage: Stage, batch: Batch) -> None:
            y = answers.labels(batch)
            attacked = stage.module(inner.craft(batch.images, y))
            # Without weight on the labels nobody asks how the student takes the images themselves.
            clean = stage.module(batch.images) if self.alpha < 1 else attacked
            loss = ard_loss(clean, attacked, answers.logits(batch), y, self.alpha, self.temperature)
            stage.update(loss, attacked_accuracy=accuracy(attacked, y))

        yield self.stage(run, student, step, players={"answers": answers}, determined_by=inner.identity())


def ard_loss(
    clean: Tensor, attacked: Tensor, teacher_logits: Tensor, y: Tensor, alpha: float, temperature: float
) -> Tensor:
    """Equation (5): `alpha T^2 KL(softmax(z_T(x)/T) || softmax(z_S(x')/T)) + (1 - alpha) CE(z_S(x), y)`.

    `clean` and `attacked` are the student's logits (B, classes) for x and x', `y` is (B,); mean over the batch. A term
    of weight 0 is left out.
    """
    return weighted_sum(
        (alpha * temperature**2, lambda: kl_divergence(teacher_logits, attacked, temperature)),
        (1 - alpha, lambda: F.cross_entropy(clean, y)),
    )

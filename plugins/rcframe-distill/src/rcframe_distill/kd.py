"""Knowledge distillation (Hinton, Vinyals, Dean, 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Distillation,
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
from rcframe_distill.schedules import CIFAR10, CIFAR100, SMALL, Presets


@component
class KD(Distillation):
    """Learns from labels and from the teacher's softened outputs.

    Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network" (2015). The teacher answers for the very
    batch the student sees, augmentation and attacks included. With `alpha` = 1 no label is used; with `alpha` = 0 this
    is training on labels.
    """

    alpha: float = option(default=0.9, help="Weight of the teacher's outputs against the labels.", check=between(0, 1))
    temperature: float = option(default=4.0, help="Temperature of both softmaxes.", check=more_than(0))

    access = Access.LOGITS
    data = Data.LABELLED
    presets: ClassVar[Presets] = {
        "cifar10": {**CIFAR10, "alpha": 0.9, "temperature": 4.0},
        "cifar100": {**CIFAR100, "alpha": 0.9, "temperature": 20.0},
        "tiny-imagenet": {**CIFAR100, "alpha": 0.9, "temperature": 20.0},
        "cnn": {**SMALL, "alpha": 0.9, "temperature": 4.0},
    }

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (1)."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits, y = stage.module(batch.images), answers.labels(batch)
            loss = distillation_loss(logits, answers.logits(batch), y, self.alpha, self.temperature)
            stage.update(loss, accuracy=accuracy(logits, y))

        yield self.stage(run, student, step, players={"answers": answers})


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, y: Tensor, alpha: float, temperature: float
) -> Tensor:
    """Equation (1): `(1 - alpha) CE(z_S, y) + alpha T^2 KL(softmax(z_T/T) || softmax(z_S/T))`, mean over the batch.

    Logits are (B, classes), `y` (B,). The factor T^2 keeps the soft gradients' size independent of T. A term of weight
    0 is left out, so that it can neither read labels nor spread infinities.
    """
    return weighted_sum(
        (1 - alpha, lambda: F.cross_entropy(student_logits, y)),
        (alpha * temperature**2, lambda: kl_divergence(teacher_logits, student_logits, temperature)),
    )

"""Matching the teacher's logits (Ba and Caruana, 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from rcframe import Access, Batch, Data, Distillation, Oracle, Run, Stage, accuracy, component, option
from rcframe_distill.schedules import Presets


@component
class Logits(Distillation):
    """Repeats the teacher's logits, without labels.

    Ba, Caruana: "Do Deep Nets Really Need to be Deep?" (NIPS 2014), with the mean over samples and classes of Barmpas:
    "Certifying Properties of Deep Networks by Taking them into Shallow Waters" (2020), section 4.2.1. A class that the
    teacher rules out by a logit of -inf is left out of the mean: no finite logit comes near it.
    """

    centred: bool = option(default=False, help="Whether the mean of every image's logits is taken off first.")

    access = Access.LOGITS
    data = Data.INPUTS
    ignores_ruled_out = True
    presets: ClassVar[Presets] = {"thesis": {"batch_size": 128, "epochs": 500, "patience": 10}}

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on the mean square of the difference."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits, wanted = stage.module(batch.images), answers.logits(batch)
            tell_of_gaps(stage, wanted)
            stage.update(
                logit_loss(logits, wanted, self.centred), train_agreement=accuracy(logits, wanted.argmax(dim=1))
            )

        yield self.stage(run, student, step, players={"answers": answers})


def logit_loss(student_logits: Tensor, teacher_logits: Tensor, centred: bool = False) -> Tensor:
    """Equation (2): `mean over samples and classes of (z_T - z_S)^2`; of the logits less their mean, if `centred`.

    Logits are (B, classes). Classes that the teacher rules out by -inf count in neither mean.
    """
    known = ~teacher_logits.isneginf()
    gap = torch.where(known, student_logits - teacher_logits.masked_fill(~known, 0.0), 0.0)
    if centred:
        mean = gap.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True)
        gap = torch.where(known, gap - mean, 0.0)
    return gap.square().sum() / known.sum()


def tell_of_gaps(stage: Stage, teacher_logits: Tensor) -> None:
    """Say once that the teacher rules classes out, of which nothing can be learned."""
    if stage.epoch == 0 and stage.batch == 0 and bool(teacher_logits.isneginf().any()):
        stage.say(
            f"Stage `{stage.name}` matches logits, but the teacher rules classes out by logits of -inf: these are left "
            f"out, so nothing keeps the student from believing in them."
        )

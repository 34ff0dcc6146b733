"""A student that cools a nasty teacher's answers down with labels, inspired by HTC (Jandial et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

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
    more_than,
    option,
)
from rcframe_counterattacks.composition import composed, composition_loss, labels_as_probabilities


@component
class HTC(Distillation):
    """Learns from a mixture of the labels and the teacher's outputs at a high temperature.

    Inspired by HTC of Jandial, Khasbage, Pal, Balasubramanian, Krishnamurthy: "Distilling the Undistillable: Learning
    from a Nasty Teacher" (ECCV 2022). Its code is withheld: this is a reading of the abstract and a summary, no
    replica, and nothing about the published method follows from its figures.
    """

    mix: float = option(
        default=0.5, help="Share of the teacher in the target, against the labels.", check=between(0, 1)
    )
    temperature: float = option(
        default=20.0, help="Temperature of the teacher's softmax; the student's is 1.", check=more_than(0)
    )

    access = Access.LOGITS
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (2) at temperature 1, with the labels as the clean signal of equation (1)."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits, y = stage.module(batch.images), answers.labels(batch)
            clean = labels_as_probabilities(y, logits)
            target = composed(answers.logits(batch), clean, self.mix, self.temperature)
            stage.update(composition_loss(logits, target, 1.0), accuracy=accuracy(logits, y))

        yield self.stage(run, student, step, players={"answers": answers})

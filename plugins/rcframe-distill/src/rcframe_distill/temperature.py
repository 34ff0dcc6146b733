"""Learning the teacher's outputs at a temperature that only the teacher has (Barmpas, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from rcframe import Access, Batch, Data, Distillation, Oracle, Run, Stage, accuracy, component, more_than, option
from rcframe_distill.schedules import Presets


@component
class Temperature(Distillation):
    """Learns the teacher's softened outputs at a temperature of its own of 1, without labels.

    Barmpas: "Certifying Properties of Deep Networks by Taking them into Shallow Waters" (2020), section 4.2.2. This is
    not `kd`: a student that learns it perfectly has the teacher's logits divided by the temperature, and all margins
    with them.
    """

    temperature: float = option(
        default=2.0,
        help="Temperature of the teacher's softmax; below 1 its outputs get harder.",
        check=more_than(0),
        positional=True,
    )

    access = Access.LOGITS
    data = Data.INPUTS
    presets: ClassVar[Presets] = {"thesis": {"batch_size": 128, "epochs": 500, "patience": 10}}

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on the soft cross-entropy."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits, wanted = stage.module(batch.images), answers.logits(batch)
            loss = ranged_loss(logits, wanted, self.temperature)
            stage.update(loss, train_agreement=accuracy(logits, wanted.argmax(dim=1)))

        yield self.stage(run, student, step, players={"answers": answers})


def ranged_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Equation (3): `-sum_k q_k log softmax(z_S)_k` with `q = softmax(z_T / T)`, mean over the batch.

    Logits are (B, classes). Neither labels nor a factor T^2.
    """
    q = (teacher_logits / temperature).softmax(dim=1)
    return -(q * student_logits.log_softmax(dim=1)).sum(dim=1).mean()

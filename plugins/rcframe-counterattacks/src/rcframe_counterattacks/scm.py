"""A student that reaches a nasty teacher through intermediate students, inspired by SCM (Jandial et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Answers,
    Batch,
    Data,
    Distillation,
    Oracle,
    Run,
    Stage,
    accuracy,
    at_least,
    between,
    component,
    generations,
    more_than,
    option,
    weighted_sum,
)
from rcframe_counterattacks.composition import composed, composition_loss


@component
class SCM(Distillation):
    """Learns from a mixture of the teacher's outputs and those of the network before it in a sequence.

    Inspired by SCM of Jandial, Khasbage, Pal, Balasubramanian, Krishnamurthy: "Distilling the Undistillable: Learning
    from a Nasty Teacher" (ECCV 2022). Its code is withheld: this is a reading of the abstract and a summary, no
    replica, and nothing about the published method follows from its figures. The first network of the sequence learns
    from the labels alone, the last one is the student, and all have the student's model; where the student spikes or
    is pruned, those before it are ordinary, whole networks.
    """

    intermediates: int = option(
        default=2, help="Networks before the student; the first learns from the labels alone.", check=at_least(1)
    )
    mix: float = option(
        default=0.5, help="Share of the teacher in the target, against the network before.", check=between(0, 1)
    )
    alpha: float = option(default=0.9, help="Weight of that target against the labels.", check=between(0, 1))
    temperature: float = option(default=4.0, help="Temperature of all softmaxes.", check=more_than(0))

    access = Access.LOGITS
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the first network on labels, every other one on equation (3)."""
        answers = self.answers(run, teacher)

        def lesson(network: nn.Module, before: Oracle | None, name: str) -> Stage:
            if before is None:
                return self._on_labels(run, network, answers, name)
            return self._on_both(run, network, answers, self.answers(run, before), name)

        names = [f"intermediate-{number}" for number in range(1, self.intermediates + 1)]
        return generations(run, student, names, lesson, first=None)

    def _on_labels(self, run: Run, network: nn.Module, answers: Answers, name: str) -> Stage:
        def step(stage: Stage, batch: Batch) -> None:
            logits, y = stage.module(batch.images), answers.labels(batch)
            stage.update(F.cross_entropy(logits, y), accuracy=accuracy(logits, y))

        return self.stage(run, network, step, name=name, players={"answers": answers})

    def _on_both(self, run: Run, network: nn.Module, answers: Answers, before: Answers, name: str) -> Stage:
        def step(stage: Stage, batch: Batch) -> None:
            logits, y = stage.module(batch.images), answers.labels(batch)
            clean = (before.logits(batch) / self.temperature).softmax(dim=1)
            target = composed(answers.logits(batch), clean, self.mix, self.temperature)
            loss = sequence_loss(logits, target, y, self.alpha, self.temperature)
            stage.update(loss, accuracy=accuracy(logits, y))

        return self.stage(run, network, step, name=name, players={"answers": answers, "before": before})


def sequence_loss(logits: Tensor, target: Tensor, y: Tensor, alpha: float, temperature: float) -> Tensor:
    """Equation (3): `(1 - alpha) CE(z_k, y) + alpha tau^2 KL(q || softmax(z_k/tau))`, mean over the batch.

    `logits` are those of network k and `target` is q of equation (1) with `c = softmax(z_{k-1}/tau)`, (B, classes)
    each; `y` is (B,). A term of weight 0 is left out.
    """
    return weighted_sum(
        (1 - alpha, lambda: F.cross_entropy(logits, y)),
        (alpha, lambda: composition_loss(logits, target, temperature)),
    )

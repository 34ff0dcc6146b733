"""Born-again networks (Furlanello et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterator

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
    at_least,
    between,
    component,
    generations,
    kl_divergence,
    more_than,
    option,
    weighted_sum,
)


@component
class BornAgain(Distillation):
    """Learns from a network like itself, which learned from one like itself, and so on back to the teacher.

    Furlanello, Lipton, Tschannen, Itti, Anandkumar: "Born-Again Neural Networks" (ICML 2018). Every generation starts
    afresh and has the student's model; the last one is the student. Only the first asks the teacher of the run. Where
    the student spikes or is pruned, the generations before it are ordinary, whole networks.
    """

    generations: int = option(
        default=3, help="Networks that learn one after the other; the last is the student.", check=at_least(1)
    )
    alpha: float = option(
        default=0.5, help="Weight of the outputs of the generation before against the labels.", check=between(0, 1)
    )
    temperature: float = option(default=1.0, help="Temperature of both softmaxes.", check=more_than(0))

    access = Access.LOGITS
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train every generation on equation (1)."""

        def lesson(network: nn.Module, before: Oracle, name: str) -> Stage:
            answers = self.answers(run, before)

            def step(stage: Stage, batch: Batch) -> None:
                logits, y = stage.module(batch.images), answers.labels(batch)
                loss = generation_loss(logits, answers.logits(batch), y, self.alpha, self.temperature)
                stage.update(loss, accuracy=accuracy(logits, y))

            return self.stage(run, network, step, name=name, players={"answers": answers})

        names = [f"generation-{number}" for number in range(1, self.generations)]
        return generations(run, student, names, lesson, first=teacher)


def generation_loss(logits: Tensor, before: Tensor, y: Tensor, alpha: float, temperature: float) -> Tensor:
    """Equation (1): `(1 - alpha) CE(z_k, y) + alpha T^2 KL(softmax(z_{k-1}/T) || softmax(z_k/T))`, mean over the batch.

    `logits` are those of generation k and `before` those of the one before it, (B, classes) each; `y` is (B,). A term
    of weight 0 is left out.
    """
    return weighted_sum(
        (1 - alpha, lambda: F.cross_entropy(logits, y)),
        (alpha * temperature**2, lambda: kl_divergence(before, logits, temperature)),
    )

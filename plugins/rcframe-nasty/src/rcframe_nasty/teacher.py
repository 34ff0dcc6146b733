"""The nasty teacher (Ma et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Batch,
    Run,
    Stage,
    Teacher,
    Training,
    accuracy,
    at_least,
    component,
    freeze,
    kl_divergence,
    more_than,
    option,
    supervised,
)


@component
class Nasty(Training, Teacher):
    """Keeps its top-1 accuracy and pushes its softened outputs away from those of an ordinary network.

    Ma, Chen, Hu, You, Xie, Wang: "Undistillable: Making A Nasty Teacher That CANNOT teach students" (ICLR 2021). First
    an ordinary network, the adversary, is trained and frozen; then the teacher learns from scratch against it.
    `omega` = 0 is ordinary training, bit for bit. The paper's omega is 0.004 for CIFAR-10, 0.005 for CIFAR-100 and 0.01
    for Tiny-ImageNet at temperatures 4, 20 and 20; its released configuration for CIFAR-10 says 0.04.
    """

    omega: float = option(default=0.004, help="Weight of the divergence from the adversary.", check=at_least(0))
    temperature: float = option(default=4.0, help="Temperature of both softmaxes.", check=more_than(0))
    adversary: str = option(default="same", help="Model of the adversary; `same` takes the teacher's.")
    adversary_epochs: int | None = option(
        default=None, help="Epochs of the adversary; none takes the teacher's.", check=at_least(0)
    )

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train the adversary on labels, then the teacher on equation (1)."""
        adversary = run.network("adversary", None if self.adversary == "same" else self.adversary)
        epochs = self.adversary_epochs
        yield self.unattacked().stage(run, adversary, supervised, name="adversary", epochs=epochs)
        freeze(adversary)

        def step(stage: Stage, batch: Batch) -> None:
            logits = stage.module(batch.images)
            with torch.no_grad():
                ordinary = adversary(batch.images)
            divergence = kl_divergence(logits, ordinary, self.temperature)
            loss = undermining_loss(logits, divergence, batch.labels, self.omega, self.temperature)
            stage.update(loss, accuracy=accuracy(logits, batch.labels), divergence=divergence)

        yield self.stage(run, network, step)


def undermining_loss(logits: Tensor, divergence: Tensor, y: Tensor, omega: float, temperature: float) -> Tensor:
    """Equation (1): `CE(z_T, y) - omega tau^2 KL(softmax(z_T/tau) || softmax(z_A/tau))`, mean over the batch.

    `logits` are the teacher's (B, classes); `divergence` is the KL with the teacher as its first argument, so that the
    gradient flows through the distribution that the expectation is taken over. Swapping the arguments trains a teacher
    that looks right and misleads nobody.
    """
    if omega == 0:
        return F.cross_entropy(logits, y)
    return F.cross_entropy(logits, y) - omega * temperature**2 * divergence

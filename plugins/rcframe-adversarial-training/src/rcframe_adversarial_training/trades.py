"""Trading accuracy for robustness (Zhang et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import Batch, Run, Stage, accuracy, at_least, component, kl_divergence, option
from rcframe_adversarial_training.hardening import HardStudent, HardTeacher, Iterated


@component
class Trades(Iterated):
    """Learns from labels on the images, and to answer alike around each of them.

    Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan: "Theoretically Principled Trade-off between Robustness and Accuracy" (ICML
    2019). The inner attack climbs the divergence between the answers for an image and for the attacked one, starting
    next to the image; it needs no labels. As in the authors' code, the network evaluates meanwhile.
    """

    beta: float = option(default=6.0, help="Weight of answering alike (the paper's 1 / lambda).", check=at_least(0))

    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Equation (5): two forward passes per batch, of the images and of the attacked ones."""
        inner = self.inner(network, run, away_from="answers")

        def step(stage: Stage, batch: Batch) -> None:
            x_adv = inner.craft(batch.images, batch.labels)
            clean, attacked = stage.module(batch.images), stage.module(x_adv)
            stage.update(
                trades_loss(clean, attacked, batch.labels, self.beta),
                accuracy=accuracy(clean, batch.labels),
                attacked_accuracy=accuracy(attacked, batch.labels),
            )

        yield self.stage(run, network, step, determined_by=inner.identity())


@component
class TradesTeacher(Trades, HardTeacher):
    """Learns from labels, and to answer alike around every image (Zhang et al., ICML 2019)."""


@component
class TradesStudent(Trades, HardStudent):
    """Learns from labels, and to answer alike around every image (Zhang et al., ICML 2019)."""


def trades_loss(clean: Tensor, attacked: Tensor, y: Tensor, beta: float) -> Tensor:
    """Equation (5): `CE(z, y) + beta KL(softmax(z) || softmax(z'))`, mean over the batch.

    `clean` and `attacked` are the logits (B, classes) z and z'; gradients flow through both.
    """
    return F.cross_entropy(clean, y) + beta * kl_divergence(clean, attacked, 1.0)

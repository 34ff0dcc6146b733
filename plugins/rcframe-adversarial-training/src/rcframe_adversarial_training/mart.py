"""Misclassification aware adversarial training (Wang et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import Batch, Run, Stage, accuracy, at_least, component, option
from rcframe_adversarial_training.hardening import HardStudent, HardTeacher, Iterated


@component
class Mart(Iterated):
    """Learns from labels on attacked images, and to answer alike where it is unsure of the image itself.

    Wang, Zou, Yi, Bailey, Ma, Gu: "Improving Adversarial Robustness Requires Revisiting Misclassified Examples" (ICLR
    2020). The inner attack climbs cross-entropy and starts next to the image. As in the authors' code, the network
    evaluates meanwhile.
    """

    weight: float = option(default=5.0, help="Weight of answering alike (the paper's lambda).", check=at_least(0))

    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Equation (11): two forward passes per batch, of the images and of the attacked ones."""
        inner = self.inner(network, run)

        def step(stage: Stage, batch: Batch) -> None:
            x_adv = inner.craft(batch.images, batch.labels)
            clean, attacked = stage.module(batch.images), stage.module(x_adv)
            stage.update(
                mart_loss(clean, attacked, batch.labels, self.weight),
                accuracy=accuracy(clean, batch.labels),
                attacked_accuracy=accuracy(attacked, batch.labels),
            )

        yield self.stage(run, network, step, determined_by=inner.identity())


@component
class MartTeacher(Mart, HardTeacher):
    """Learns from labels on attacked images, most from those it gets wrong (Wang et al., ICLR 2020)."""


@component
class MartStudent(Mart, HardStudent):
    """Learns from labels on attacked images, most from those it gets wrong (Wang et al., ICLR 2020)."""


def mart_loss(clean: Tensor, attacked: Tensor, y: Tensor, weight: float) -> Tensor:
    """Equation (11): `BCE(z', y) + weight KL(softmax(z) || softmax(z')) (1 - softmax(z)_y)`, mean over the batch.

    `clean` and `attacked` are the logits (B, classes) z and z'; gradients flow through both.
    """
    log_p, log_q = clean.log_softmax(dim=1), attacked.log_softmax(dim=1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    unsure = 1 - log_p.exp().gather(1, y.unsqueeze(1)).squeeze(1)
    return (boosted_cross_entropy(attacked, y) + weight * divergence * unsure).mean()


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return `-log p_y - log(1 - max_{k != y} p_k)` for every row of `logits` (B, classes), `y` (B,).

    `1 - p_k` is taken as the sum of all other probabilities, in logarithms, so that it never rounds to 0.
    """
    strongest = others(logits, y).argmax(dim=1)
    others_sum = others(logits, strongest).logsumexp(dim=1) - logits.logsumexp(dim=1)
    return F.cross_entropy(logits, y, reduction="none") - others_sum


def others(logits: Tensor, y: Tensor) -> Tensor:
    """Return logits (B, classes) with those of the labels `y` (B,) at minus infinity."""
    return logits.scatter(1, y.unsqueeze(1), float("-inf"))

"""Adversarial training for free (Shafahi et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import Batch, Run, Stage, Threat, accuracy, at_least, component, more_than, option
from rcframe_adversarial_training.hardening import Hardening, HardStudent, HardTeacher


@component
class Free(Hardening):
    """Learns several times from each batch, and moves the images by what every backward pass finds on its way.

    Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor, Goldstein: "Adversarial Training for Free!" (NeurIPS
    2019). The perturbation of a batch is where the next batch starts. There are so many fewer passes over the data as
    there are replays, so that training costs what `epochs` of ordinary training cost. There is no inner attack: the
    network is in training mode throughout.
    """

    replays: int = option(default=8, help="Updates per batch (the paper's m).", check=at_least(1))
    step_size: float | None = option(
        default=None, help="How far each replay moves a pixel; none is eps.", check=more_than(0)
    )

    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Algorithm 1: `replays` updates per batch, each followed by a step of the perturbation."""
        threat = self.threat(run.info.eps)
        length = threat.eps if self.step_size is None else self.step_size
        carried = Perturbation(torch.zeros(self.batch_size, *run.info.shape, device=run.device), threat)

        def step(stage: Stage, batch: Batch) -> None:
            for _ in range(self.replays):
                moved = carried.applied(batch.images).requires_grad_(True)
                logits = stage.module(moved)
                stage.update(F.cross_entropy(logits, batch.labels), accuracy=accuracy(logits, batch.labels))
                if moved.grad is not None:
                    carried.climb(moved.grad, length)

        passes = -(-self.epochs // self.replays)
        yield self.stage(run, network, step, epochs=passes, players={"perturbation": carried})


@component
class FreeTeacher(Free, HardTeacher):
    """Learns several times from each batch, which pays for its attack (Shafahi et al., NeurIPS 2019)."""


@component
class FreeStudent(Free, HardStudent):
    """Learns several times from each batch, which pays for its attack (Shafahi et al., NeurIPS 2019)."""


class Perturbation:
    """What is added to the images of a batch, place by place, and carried over to the next one."""

    def __init__(self, delta: Tensor, threat: Threat) -> None:
        self.delta, self.threat = delta, threat

    def applied(self, x: Tensor) -> Tensor:
        """Return images (B, C, H, W) with the perturbation added, inside the range of pixels."""
        if len(x) > len(self.delta):
            # The last batch takes in an image that would be alone.
            self.delta = torch.cat([self.delta, torch.zeros_like(x[len(self.delta) :])])
        return (x.detach() + self.delta[: len(x)]).clamp(*self.threat.bounds)

    def climb(self, gradient: Tensor, length: float) -> None:
        """Move along the sign of a gradient (B, C, H, W) of the loss, and stay within the radius."""
        moved = self.delta[: len(gradient)] + length * gradient.sign()
        self.delta[: len(gradient)] = moved.clamp(-self.threat.eps, self.threat.eps)

    def state_dict(self) -> dict[str, object]:
        """Return the perturbation, and the radius that bounds it."""
        return {"delta": self.delta, "eps": float(self.threat.eps)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on with a saved perturbation."""
        self.delta = cast(Tensor, state["delta"]).to(self.delta)

"""Fast adversarial training (Wong, Rice, Kolter, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from rcframe import (
    Batch,
    Climb,
    InnerAttack,
    RequestError,
    Run,
    Stage,
    Threat,
    accuracy,
    at_least,
    component,
    more_than,
    option,
)
from rcframe_adversarial_training.collapse import CollapseWatch
from rcframe_adversarial_training.hardening import Hardening, HardStudent, HardTeacher

#: The length of the step, in radii: from a random start, more than one finds worse images.
_REACH = 1.25


@component
class Fast(Hardening):
    """Learns from labels on the images that one gradient step from a random start makes.

    Wong, Rice, Kolter: "Fast is better than free: Revisiting adversarial training" (ICLR 2020). Such training may
    collapse: from one epoch to the next the network withstands single steps and nothing else. Every epoch therefore
    ends with a look at some training images under one step and under several. As in the authors' code, batch norm is in
    training mode while images are attacked; unlike there, its running statistics stay where they are meanwhile.
    """

    step_size: float | None = option(
        default=None, help="Length of the step in pixels; none is 1.25 eps.", check=more_than(0)
    )
    mode: Literal["eval", "train"] = option(
        default="train", help="Whether batch norm and dropout evaluate or train inside the inner attack."
    )
    watch: int = option(
        default=128, help="Training images on which a collapse is looked for after each epoch.", check=at_least(0)
    )
    stop: bool = option(default=False, help="Whether a collapse ends training, with the last weights before it.")

    def __attrs_post_init__(self) -> None:
        """Refuse to stop at what nobody watches."""
        super().__attrs_post_init__()
        if self.stop and not self.watch:
            raise RequestError(
                "`Fast` is to stop at a collapse, but watch=0 leaves no images to notice one: set `watch`, or leave "
                "out `stop`."
            )

    def preparation(self, run: Run, target: nn.Module) -> InnerAttack:
        """Return the single step on `target`."""
        threat = self.threat(run.info.eps)
        return InnerAttack(attack=self._single(threat), network=target, threat=threat, mode=self.mode)

    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Algorithm 3, and a look for a collapse after every epoch."""
        watch = self._watch(network, run)

        def step(stage: Stage, batch: Batch) -> None:
            logits = stage.module(batch.images)
            stage.update(F.cross_entropy(logits, batch.labels), accuracy=accuracy(logits, batch.labels))
            if watch:
                watch.look(stage)

        yield self.stage(run, network, step, observers=[watch] if watch else [])

    def _single(self, threat: Threat) -> Climb:
        # A step of no length is no option; nothing is attacked within no radius anyway.
        length = self.step_size or _REACH * threat.eps or None
        return Climb(steps=1, step_size=length)

    def _watch(self, network: nn.Module, run: Run) -> CollapseWatch | None:
        images = run.data.train
        count = min(self.watch, len(images))
        if not count:
            return None
        spread = torch.arange(count) * len(images) // count
        threat = self.threat(run.info.eps)
        batch = images.fetch(spread).to(run.device)
        return CollapseWatch(network, run, threat, self._single(threat), batch, self.stop)


@component
class FastTeacher(Fast, HardTeacher):
    """Learns from labels on what one gradient step from a random start makes (Wong et al., ICLR 2020)."""


@component
class FastStudent(Fast, HardStudent):
    """Learns from labels on what one gradient step from a random start makes (Wong et al., ICLR 2020)."""

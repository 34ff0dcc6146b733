"""Ordinary training, for teachers and students."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from torch import nn

from rcframe.access import Access
from rcframe.api import Data, StudentStrategy, Teacher
from rcframe.evaluation.oracle import Oracle
from rcframe.options import component
from rcframe.training.context import Run
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

#: How residual networks are commonly trained on each of these data sets, with the customary augmentation.
_SGD: Mapping[str, object] = {
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch_size": 128,
    "schedule": "steps",
}
_LONG: Mapping[str, object] = {**_SGD, "epochs": 200, "milestones": (60, 120, 160), "decay": 0.2}
_PRESETS: Mapping[str, Mapping[str, object]] = {
    "cifar10": {**_SGD, "epochs": 160, "milestones": (80, 120), "decay": 0.1},
    "cifar100": _LONG,
    "tiny-imagenet": _LONG,
}


@component
class PlainTeacher(Training, Teacher):
    """A network trained on the labels by cross-entropy."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = _PRESETS

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train once."""
        yield self.stage(run, network, supervised)


@component
class PlainStudent(Training, StudentStrategy):
    """Learns from the labels alone: what a student can do without any teacher."""

    access = Access.NONE
    data = Data.LABELLED
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = _PRESETS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once."""
        yield self.stage(run, student, supervised)

"""Ordinary training, for teachers and students."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from rcframe.access import Access
from rcframe.api import Data, StudentStrategy, Teacher
from rcframe.evaluation.oracle import Oracle
from rcframe.options import component
from rcframe.training.context import Run
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


@component
class PlainTeacher(Training, Teacher):
    """A network trained on the labels by cross-entropy."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train once."""
        yield self.stage(run, network, supervised)


@component
class PlainStudent(Training, StudentStrategy):
    """Learns from the labels alone: what a student can do without any teacher."""

    access = Access.NONE
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once."""
        yield self.stage(run, student, supervised)

"""Label smoothing as a student strategy."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    Run,
    Stage,
    StudentStrategy,
    Training,
    accuracy,
    between,
    component,
    option,
)


@component
class SmoothLabels(Training, StudentStrategy):
    """Learns from labels of which a share is spread over all classes (Szegedy et al., 2016)."""

    smoothing: float = option(default=0.1, help="Share of each label that is spread.", check=between(0, 1))

    access = Access.NONE
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once; the teacher is never asked."""

        def step(stage: Stage, batch: Batch) -> None:
            logits = stage.module(batch.images)
            loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.smoothing)
            stage.update(loss, accuracy=accuracy(logits, batch.labels))

        yield self.stage(run, student, step)

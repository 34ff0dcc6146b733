"""Steps that several methods share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rcframe.data.images import Batch
from rcframe.training.stage import Stage


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the fraction of rows of `logits` (B, classes) whose largest entry is at `y` (B,), as a tensor."""
    return (logits.detach().argmax(dim=1) == y).float().mean()


def supervised(stage: Stage, batch: Batch) -> None:
    """Learn from labels: one update on the mean cross-entropy."""
    logits = stage.module(batch.images)
    stage.update(F.cross_entropy(logits, batch.labels), accuracy=accuracy(logits, batch.labels))

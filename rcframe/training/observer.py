"""Observers: what a pruner, or any method, hangs on a stage to act at every step of somebody else's training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from rcframe.training.stage import Stage


class Observer:
    """Lives in one stage of one run; every method does nothing unless overridden.

    Whatever an observer carries from step to step belongs into `state_dict`, so that a stopped run can go on.
    """

    def begin(self, stage: Stage) -> None:
        """Act once, when the stage starts: its optimizer exists, nothing has moved."""

    def penalty(self, stage: Stage) -> Tensor | float:
        """Return a term that is added to every loss."""
        return 0.0

    def before_update(self, stage: Stage) -> None:
        """Act when gradients exist and weights have not moved yet."""

    def after_update(self, stage: Stage) -> None:
        """Act when weights have moved."""

    def measured(self, stage: Stage) -> Mapping[str, float]:
        """Return figures of the epoch that ends, beside the means of what its steps report. Added in API 1.4."""
        return {}

    def epoch_end(self, stage: Stage, epoch: int) -> None:
        """Act at the end of epoch `epoch`, counted from 0."""

    def state_dict(self) -> dict[str, object]:
        """Return everything that moves."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from what `state_dict` returned."""

"""The loop: walks a plan stage by stage, epoch by epoch, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from rcframe.errors import RunFailed
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage


def execute(plan: Iterator[Stage], monitor: Monitor) -> nn.Module | None:
    """Train every stage of a plan and return the last one's target, or None for an empty plan."""
    target: nn.Module | None = None
    for stage in plan:
        stage.begin()
        train(stage, monitor)
        target = stage.target
    return target


def train(stage: Stage, monitor: Monitor) -> None:
    """Train one begun stage from its position to its end."""
    monitor.stage_started(stage)
    while stage.epoch < stage.epochs:
        stage.target.train()
        stage.module.train()
        for batch in stage.batches.epoch(stage.epoch, stage.batch):
            stage.step(stage, batch)
            stage.batch += 1
            monitor.batch_done(stage, 0 if batch.x is None else len(batch.x))
        metrics = stage.means.read()
        _check_finite(stage, metrics)
        monitor.epoch_done(stage, metrics)
        stage.end_epoch()
    stage.target.eval()
    stage.module.eval()
    monitor.stage_done(stage)


def _check_finite(stage: Stage, metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"Stage `{stage.name}` broke down in epoch {stage.epoch + 1} of {stage.epochs}: its {name} is {value}. "
                f"Try a lower learning rate."
            )

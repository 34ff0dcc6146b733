"""The loop: walks a plan stage by stage, epoch by epoch, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from rcframe.errors import RunFailed
from rcframe.storage.keeper import Keeper
from rcframe.training.compute import Compute
from rcframe.training.memory import out_of_memory
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage


def execute(
    plan: Iterator[Stage], monitor: Monitor, keeper: Keeper | None = None, compute: Compute | None = None
) -> nn.Module | None:
    """Train every stage of a plan and return what the last one leaves, or None for an empty plan.

    A stage that `keeper` knows the end of is not trained again, and one that it knows a part of is continued.
    """
    keeper = keeper or Keeper()
    left: nn.Module | None = None
    for stage in plan:
        stage.compute = compute or stage.compute
        stage.begin()
        with keeper.keeping(stage) as finished:
            if finished:
                stage.finish()
                monitor.stage_recalled(stage)
            else:
                train(stage, monitor, keeper)
        left = stage.outcome
    return left


def train(stage: Stage, monitor: Monitor, keeper: Keeper | None = None) -> None:
    """Train one begun stage from its position to its end."""
    keeper = keeper or Keeper()
    stage.say = monitor.said
    monitor.stage_started(stage)
    while stage.epoch < stage.epochs:
        _train_epoch(stage, monitor, keeper)
        metrics = stage.measured()
        _check_finite(stage, metrics)
        monitor.epoch_done(stage, metrics)
        stage.end_epoch(metrics)
    stage.check()
    stage.finish()
    monitor.stage_done(stage)


def _train_epoch(stage: Stage, monitor: Monitor, keeper: Keeper) -> None:
    stage.target.train()
    stage.module.train()
    images = 0
    try:
        # Already bringing a batch to the device takes memory.
        for batch in stage.batches.epoch(stage.epoch, stage.batch):
            images = 0 if batch.x is None else len(batch.x)
            stage.take(batch)
            monitor.batch_done(stage, images)
            keeper.progressed(stage)
    except Exception as error:
        if out_of_memory(error):
            raise _too_large(stage, images) from error
        raise


def _too_large(stage: Stage, images: int) -> RunFailed:
    where = f"epoch {stage.epoch + 1}, batch {stage.batch + 1}{f', on {images} images' if images else ''}"
    return RunFailed(
        f"Stage `{stage.name}` ran out of memory in {where}. Lower its option `batch_size`, choose a smaller model, or "
        f"use --precision bf16."
    )


def _check_finite(stage: Stage, metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise RunFailed(
                f"Stage `{stage.name}` broke down in epoch {stage.epoch + 1} of {stage.epochs}: its {name} is {value}. "
                f"Try a lower learning rate."
            )

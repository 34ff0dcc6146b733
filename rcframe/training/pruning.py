"""The common shape of pruning: train, prune once, fine-tune."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from rcframe.api import OneShotPruner, StudentPlan
from rcframe.errors import RequestError
from rcframe.training.context import Run
from rcframe.training.stage import Stage


def prune_after_training(pruner: OneShotPruner, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
    """Train as planned, prune once, then train the smaller student as planned for the pruner's `finetune` epochs."""
    trained: nn.Module = student
    for stage in plan(student):
        yield stage
        trained = stage.target
    with run.seeded("pruning"):
        small, report = pruner.apply(trained, run.example)
    check_same_task(run.adopt(small), run)
    run.pruned.append(report)
    count = len(run.pruned)
    for stage in plan(small):
        if stage.target is small:
            stage.epochs = pruner.finetune
            yield stage
        elif not run.is_student(stage.target):
            # Of a network that the plan trains on the way, such as an earlier generation: here it is a new one.
            yield stage
    # A pruner earlier in the chain has pruned `small` on the way, which nobody uses.
    del run.pruned[count:]


def check_same_task(small: nn.Module, run: Run) -> None:
    """Refuse a pruned network that no longer tells the classes apart."""
    with torch.no_grad():
        outputs = small(run.example)
    if outputs.shape != (len(run.example), len(run.info.classes)):
        raise RequestError(f"The pruner returned a network with outputs {tuple(outputs.shape)}; it lost classes.")

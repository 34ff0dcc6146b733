"""The options that every trained method has, and the stage they describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rcframe.options import at_least, between, component, more_than, option

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from rcframe.training.context import Run
    from rcframe.training.observer import Observer
    from rcframe.training.stage import BatchSource, Stage, Stateful, Step


@component
class Training:
    """How a network is trained. A teacher or student strategy inherits these options and calls `stage`."""

    epochs: int = option(default=30, help="Passes over the training data.", check=at_least(0))
    batch_size: int = option(default=64, help="Images per batch.", check=at_least(1))
    optimizer: Literal["adam", "sgd"] = option(default="adam", help="The optimizer.")
    lr: float = option(default=1e-3, help="Learning rate.", check=more_than(0))
    momentum: float = option(default=0.9, help="Momentum of `sgd`.", check=between(0, 1))
    weight_decay: float = option(default=0.0, help="Weight decay on all parameters but scalars.", check=at_least(0))
    schedule: Literal["constant", "steps", "cosine"] = option(
        default="constant", help="How the learning rate changes from epoch to epoch."
    )
    milestones: tuple[int, ...] = option(
        default=(), help="Epochs, counted from 0, before which `steps` lowers the learning rate.", check=at_least(0)
    )
    decay: float = option(default=0.1, help="Factor of each lowering by `steps`.", check=between(0, 1))

    def stage(
        self,
        run: Run,
        target: nn.Module,
        step: Step,
        *,
        name: str = "train",
        module: nn.Module | None = None,
        epochs: int | None = None,
        batches: BatchSource | None = None,
        observers: Sequence[Observer] = (),
        players: dict[str, Stateful] | None = None,
    ) -> Stage:
        """Return a stage of `run` that trains `target` by `step` with these options.

        `module` is what the step runs if it has training-only parts around the target.
        """
        from rcframe.training.stage import Stage

        full_name = run.stage_name(name)
        stage = Stage(
            name=full_name,
            target=target,
            module=target if module is None else module,
            step=step,
            epochs=self.epochs if epochs is None else epochs,
            batches=run.batches(self.batch_size, full_name) if batches is None else batches,
            make_optimizer=self._optimizer,
            seed=run.seed,
            observers=list(observers),
            players=players or {},
        )
        if self.schedule != "constant":
            # Asked for when the stage begins: a pruner may have shortened it by then.
            stage.make_schedule = lambda optimizer: self._schedule(optimizer, stage.epochs)
        return stage

    def _optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        from torch.optim import SGD, Adam

        # Scalars are thresholds and leaks of neurons, which decay would drag away from where they work.
        scalars = [parameter for parameter in parameters if parameter.dim() == 0]
        weights = [parameter for parameter in parameters if parameter.dim() > 0]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": scalars, "weight_decay": 0.0}]
        used = [group for group in groups if group["params"]]
        if self.optimizer == "adam":
            return Adam(used, lr=self.lr)
        return SGD(used, lr=self.lr, momentum=self.momentum)

    def _schedule(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=max(epochs, 1))
        return MultiStepLR(optimizer, list(self.milestones), gamma=self.decay)

"""A stage: one training phase, the unit of progress and of checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypedDict

import attrs
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.training.observer import Observer
from rcframe.training.randomness import Generators, generator_states, restore_generators, seed_everything


class BatchSource(Protocol):
    """Where a stage's batches come from; the order is a function of the epoch alone."""

    def __len__(self) -> int:
        """Count the batches of one epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from position `start` on."""


class Stateful(Protocol):
    """Anything whose state can be saved and restored: modules, optimizers, schedulers, observers."""

    def state_dict(self) -> dict[str, object]:
        """Return everything that moves."""

    def load_state_dict(self, state_dict: dict[str, object], /) -> object:
        """Go on from what `state_dict` returned."""


Step = Callable[["Stage", Batch], None]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler]


class Means:
    """Running means of a stage's metrics over an epoch, kept as tensors so that nothing waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor | float) -> None:
        """Take in one value."""
        detached = value.detach() if isinstance(value, Tensor) else value
        self._sums[name] = self._sums.get(name, 0.0) + detached
        self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

    def state_dict(self) -> dict[str, object]:
        """Return sums and counts."""
        return {"sums": {k: float(v) for k, v in self._sums.items()}, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from saved sums and counts."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])  # type: ignore[call-overload]


class StageState(TypedDict):
    """Everything that moves inside a stage."""

    epoch: int
    batch: int
    target: dict[str, object]
    module: dict[str, object]
    optimizer: dict[str, object] | None
    schedule: dict[str, object] | None
    observers: list[dict[str, object]]
    players: dict[str, dict[str, object]]
    means: dict[str, object]
    generators: Generators


@attrs.define(eq=False, kw_only=True)
class Stage:
    """One training phase.

    `step(stage, batch)` is the method's: it calls `stage.update(loss)` as often as it wants. The kernel calls it for
    every batch of every epoch.
    """

    #: Unique within a run; the generators of the stage start from (seed, name).
    name: str
    #: What is kept, pruned, evaluated and saved.
    target: nn.Module
    #: What the step runs: the target, perhaps with parts that are only needed for training.
    module: nn.Module
    step: Step
    epochs: int
    batches: BatchSource
    make_optimizer: MakeOptimizer
    make_schedule: MakeSchedule | None = None
    seed: int = 0
    observers: list[Observer] = attrs.field(factory=list)
    #: Further networks and optimizers that a method trains for itself, such as a generator.
    players: dict[str, Stateful] = attrs.field(factory=dict)
    #: Exists from `begin` on.
    optimizer: Optimizer | None = attrs.field(default=None, init=False)
    schedule: LRScheduler | None = attrs.field(default=None, init=False)
    means: Means = attrs.field(factory=Means, init=False)
    #: Position in the data order: the epoch and the batch that come next.
    epoch: int = attrs.field(default=0, init=False)
    batch: int = attrs.field(default=0, init=False)

    def begin(self) -> None:
        """Seed the generators, make the optimizer, start the observers."""
        seed_everything(self.seed, self.name)
        parameters = list(_trainable(self.target, self.module))
        if parameters:
            self.optimizer = self.make_optimizer(parameters)
            self.schedule = self.make_schedule(self.optimizer) if self.make_schedule else None
        for observer in self.observers:
            observer.begin(self)

    def update(self, loss: Tensor, **metrics: Tensor | float) -> None:
        """Take one optimizer step on `loss`; the only place where a target's weights move.

        Gradients are cleared first, since another player may have left some.
        """
        optimizer = self.optimizer
        if optimizer is None:
            raise RunFailed(
                f"Stage `{self.name}` called update, but none of its parameters takes gradients. "
                f"Does the model set `requires_grad=False`?"
            )
        optimizer.zero_grad(set_to_none=True)
        total = loss
        for observer in self.observers:
            total = total + observer.penalty(self)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        for observer in self.observers:
            observer.before_update(self)
        optimizer.step()
        for observer in self.observers:
            observer.after_update(self)
        self.means.add("loss", loss)
        for name, value in metrics.items():
            self.means.add(name, value)

    def end_epoch(self) -> None:
        """Move the schedule and the observers on; the position becomes the next epoch's start."""
        for observer in self.observers:
            observer.epoch_end(self, self.epoch)
        if self.schedule is not None:
            self.schedule.step()
        self.epoch, self.batch, self.means = self.epoch + 1, 0, Means()

    def state_dict(self) -> StageState:
        """Return everything that moves inside the stage, generators and data position included."""
        return StageState(
            epoch=self.epoch,
            batch=self.batch,
            target=self.target.state_dict(),
            module=self.module.state_dict(),
            optimizer=self.optimizer.state_dict() if self.optimizer else None,
            schedule=self.schedule.state_dict() if self.schedule else None,
            observers=[observer.state_dict() for observer in self.observers],
            players={name: player.state_dict() for name, player in self.players.items()},
            means=self.means.state_dict(),
            generators=generator_states(),
        )

    def load_state_dict(self, state: StageState) -> None:
        """Go on from a state; `begin` has been called on this stage, built by the same plan."""
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.target.load_state_dict(state["target"])
        self.module.load_state_dict(state["module"])
        if self.optimizer and state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule and state["schedule"]:
            self.schedule.load_state_dict(state["schedule"])
        for observer, saved in zip(self.observers, state["observers"], strict=True):
            observer.load_state_dict(saved)
        for name, player in self.players.items():
            player.load_state_dict(state["players"][name])
        self.means.load_state_dict(state["means"])
        restore_generators(state["generators"])


def _trainable(*modules: nn.Module) -> Iterable[nn.Parameter]:
    """Yield the parameters that take gradients, each once."""
    seen: set[int] = set()
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter


def snapshot(stage: Stage) -> StageState:
    """Return a copy of a stage's state that later steps do not change."""
    return copy.deepcopy(stage.state_dict())

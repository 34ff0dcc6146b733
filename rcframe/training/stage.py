"""A stage: one training phase, the unit of progress, of checkpoints and of the cache."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar, cast

import attrs
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.training.compute import Compute
from rcframe.training.health import Health, named_once
from rcframe.training.identity import identity_of
from rcframe.training.means import Means
from rcframe.training.observer import Observer
from rcframe.training.randomness import Generators, generator_states, restore_generators, seed_everything

if TYPE_CHECKING:
    from rcframe.training.context import Owner


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


class Preparation(Protocol):
    """What is done to a batch before the step sees it, such as an attack on its images."""

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch that the step gets."""

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines it, by name; None if the source of its code is unknown."""


Answer = TypeVar("Answer")

Step = Callable[["Stage", Batch], None]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler]


class ProcessState(TypedDict):
    """What moves inside a stage in one process, apart from the others that train with it."""

    generators: Generators
    players: dict[str, Mapping[str, object]]
    means: dict[str, object]


class StageState(TypedDict):
    """Everything that moves inside a stage. A finished one carries only what later stages may need."""

    epoch: int
    batch: int
    history: list[dict[str, float]]
    target: dict[str, object]
    module: dict[str, object]
    optimizer: dict[str, object] | None
    schedule: dict[str, object] | None
    scaler: dict[str, object] | None
    observers: list[dict[str, object]]
    #: The generators that observers draw from where several processes train together.
    shared: Generators | None
    processes: list[ProcessState]


def _to_nobody(text: str) -> None:
    """Tell nobody."""


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
    #: Changes every batch before the step sees it.
    prepare: Preparation | None = None
    #: What the result depends on besides options, data and code, by name.
    determined_by: Mapping[str, str] = attrs.field(factory=dict)
    #: The teacher that is trained here where that is not the run's, so that a run in which it is shares the work.
    owner: Owner | None = None
    #: What the last stage of a plan leaves, if that is more than the target: the target with parts of `module`, say.
    #: Added in API 1.4.
    result: nn.Module | None = None
    #: What a plan leaves that ends with this stage, if that is more than the stage itself leaves: several networks that
    #: were trained one after the other, say. Added in API 1.4.
    whole: nn.Module | None = None
    #: Exists from `begin` on.
    optimizer: Optimizer | None = attrs.field(default=None, init=False)
    schedule: LRScheduler | None = attrs.field(default=None, init=False)
    means: Means = attrs.field(factory=Means, init=False)
    #: Position in the data order: the epoch and the batch that come next.
    epoch: int = attrs.field(default=0, init=False)
    batch: int = attrs.field(default=0, init=False)
    #: The metrics of every finished epoch.
    history: list[dict[str, float]] = attrs.field(factory=list, init=False)
    #: Where the stage trains; the loop sets it.
    compute: Compute = attrs.field(factory=Compute, init=False)
    #: Tells the user something about the training; the loop sets it.
    say: Callable[[str], None] = attrs.field(default=_to_nobody, init=False)
    _share: float = attrs.field(default=1.0, init=False)
    _shared: Generators | None = attrs.field(default=None, init=False)
    _health: Health = attrs.field(factory=Health, init=False)

    @property
    def left(self) -> nn.Module:
        """What is left when the stage is over: its result, or its target. Added in API 1.4."""
        return self.target if self.result is None else self.result

    @property
    def outcome(self) -> nn.Module:
        """What a plan leaves that ends with this stage. Added in API 1.4."""
        return self.left if self.whole is None else self.whole

    def begin(self) -> None:
        """Seed the generators, make the optimizer, start the observers."""
        seed_everything(self.seed, self.name)
        parameters = list(_trainable(self.target, self.module))
        if parameters:
            self.optimizer = self.make_optimizer(parameters)
            self.schedule = self.make_schedule(self.optimizer) if self.make_schedule else None
        for observer in self.observers:
            observer.begin(self)
        if self.compute.count > 1:
            self._shared = generator_states()
            # Noise differs between processes, and is the same as alone in the first.
            if not self.compute.is_main:
                seed_everything(self.seed, self.name, "process", self.compute.index)

    def take(self, batch: Batch) -> None:
        """Let the method step on a batch."""
        self._share = batch.share
        with self.compute.autocast():
            self.step(self, batch if self.prepare is None else self.prepare(batch))
        self.batch += 1

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
        self._health.watch(self, loss)
        with self.compute.full_precision():
            optimizer.zero_grad(set_to_none=True)
            total = loss
            for observer in self.observers:
                total = total + self._asked(observer.penalty)
            self.compute.backward(total if self._share == 1.0 else total * self._share)
            self.compute.settle(optimizer, (self.target, self.module))
            for observer in self.observers:
                self._asked(observer.before_update)
            self.compute.step(optimizer)
            for observer in self.observers:
                self._asked(observer.after_update)
        self.means.add("loss", loss, self._share)
        for name, value in metrics.items():
            self.means.add(name, value, self._share)

    def measured(self) -> dict[str, float]:
        """Return the figures of the epoch that ends: the means of its steps, and what observers measure."""
        figures = self.means.read(self.compute)
        for observer in self.observers:
            figures.update(self._asked(observer.measured))
        return figures

    def end_here(self) -> None:
        """Let the epoch that ends be the last one; for observers. Added in API 1.4."""
        self.epochs = self.epoch + 1

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Move the schedule and the observers on; the position becomes the next epoch's start."""
        for observer in self.observers:
            self._asked(partial(_end_epoch, observer))
        if self.schedule is not None:
            self.schedule.step()
        self.history.append(dict(metrics))
        self.epoch, self.batch, self.means = self.epoch + 1, 0, Means()

    def finish(self) -> None:
        """Leave the networks in evaluation mode, and the generators where every run leaves them after this stage."""
        self.target.eval()
        self.module.eval()
        seed_everything(self.seed, self.name, "end")

    def _asked(self, call: Callable[[Stage], Answer]) -> Answer:
        """Call an observer; all processes draw the same random numbers in it, so that their targets stay equal."""
        if self._shared is None:
            return call(self)
        own = generator_states()
        restore_generators(self._shared)
        try:
            return call(self)
        finally:
            self._shared = generator_states()
            restore_generators(own)

    def check(self) -> None:
        """Raise `RunFailed` if a loss or a weight is no number, so that no broken state replaces a good one."""
        self._health.check(self)

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the result as far as the stage knows; None if the source of its code is unknown."""
        return identity_of(self)

    def state_dict(self) -> StageState:
        """Return everything that moves inside the stage; where several train together, all must ask."""
        own = ProcessState(
            generators=generator_states(),
            players={name: player.state_dict() for name, player in self.players.items()},
            means=self.means.state_dict(),
        )
        return StageState(
            epoch=self.epoch,
            batch=self.batch,
            history=self.history,
            target=self.target.state_dict(),
            module=self.module.state_dict(),
            optimizer=self.optimizer.state_dict() if self.optimizer else None,
            schedule=self.schedule.state_dict() if self.schedule else None,
            scaler=self.compute.scaler.state_dict() if self.compute.scaler else None,
            observers=[observer.state_dict() for observer in self.observers],
            shared=self._shared,
            processes=self.compute.gather(own),
        )

    def final_state(self) -> StageState:
        """Return the part of the finished state that later stages may need."""
        return StageState({**self.state_dict(), "optimizer": None, "schedule": None, "scaler": None})

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        """Go on from a state; `begin` has been called on this stage, built by the same plan."""
        state = cast(StageState, saved)
        self.epoch, self.batch, self.history = state["epoch"], state["batch"], list(state["history"])
        self.target.load_state_dict(state["target"])
        self.module.load_state_dict(state["module"])
        if self.optimizer and state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule and state["schedule"]:
            self.schedule.load_state_dict(state["schedule"])
        if self.compute.scaler and state["scaler"]:
            self.compute.scaler.load_state_dict(state["scaler"])
        for observer, moved in zip(self.observers, state["observers"], strict=True):
            observer.load_state_dict(moved)
        self._shared = state["shared"]
        own = state["processes"][self.compute.index]
        for name, player in self.players.items():
            player.load_state_dict(cast("dict[str, object]", own["players"][name]))
        self.means.load_state_dict(own["means"])
        restore_generators(own["generators"])


def _trainable(*modules: nn.Module) -> Iterable[nn.Parameter]:
    """Yield the parameters that take gradients, each once."""
    return (parameter for _, parameter in named_once(*modules) if parameter.requires_grad)


def snapshot(stage: Stage) -> StageState:
    """Return a copy of a stage's state that later steps do not change."""
    return copy.deepcopy(stage.state_dict())


def _end_epoch(observer: Observer, stage: Stage) -> None:
    observer.epoch_end(stage, stage.epoch)

"""A plugin that works properly, and goes wrong where the environment variable TROUBLE says `PLACE:WHAT`.

The tests install it and run it in processes of their own. What goes wrong is no part of its code or options, so that a
run can go on once the cause is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Attack,
    Batch,
    Certifier,
    Data,
    Dataset,
    DataSource,
    Observer,
    Oracle,
    Report,
    Run,
    Spec,
    Stage,
    StudentStrategy,
    Threat,
    Training,
    component,
    hookimpl,
)
from rcframe.data.glyphs import Glyphs

#: The epoch and batch, counted from 0, in which the training goes wrong.
MOMENT = (1, 3)
#: The first batch of that epoch, of which workers have not yet fetched all the others.
FIRST = (1, 0)
#: The last batch of that stage.
LAST = (1, 5)


def trouble(place: str) -> str:
    """Return what is asked for at `place`; troubles are joined by `+`."""
    asked = dict(one.split(":", 1) for one in os.environ.get("TROUBLE", "").split("+") if one)
    return asked.get(place, "")


def disturb(place: str, images: int = 1) -> None:
    """Let happen what is asked for at `place`."""
    what, _, detail = trouble(place).partition("=")
    if what == "raise":
        raise TypeError(f"a mistake in {place}")
    if what == "raise-in-a-library":
        F.cross_entropy(torch.zeros(2, 3), torch.tensor([7, 7]))
    if what == "device-memory" and images > int(detail or 0):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if what == "host-memory" and images > int(detail or 0):
        torch.empty(2**50)
    if what in ("SIGINT", "SIGTERM"):
        for _ in range(int(detail or 1)):
            os.kill(os.getpid(), getattr(signal, what))
    if what == "kill-workers":
        for worker in multiprocessing.active_children():
            os.kill(worker.ident or 0, signal.SIGKILL)
    if what == "close":
        _close(*detail.split(","))
    if what == "say":
        os.write(1, detail.encode())
        os.write(2, detail.encode())
    if what == "wait":
        _wait(Path(detail))


def _close(*names: str) -> None:
    """Close the descriptors of this process's open files of these names."""
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        if descriptor.is_symlink() and Path(os.readlink(descriptor)).name in names:
            os.close(int(descriptor.name))


def _wait(gate: Path) -> None:
    """Say that the run has got here, and wait until somebody opens the gate."""
    gate.with_name("here").touch()
    while not gate.exists():
        time.sleep(0.005)


class Watcher(Observer):
    """Looks on."""

    def after_update(self, stage: Stage) -> None:
        """Perhaps fail."""
        if (stage.epoch, stage.batch) == MOMENT:
            disturb("observer")


@component
class TroubledData(DataSource):
    """Easy characters."""

    def load(self, root: Path) -> Dataset:
        """Return freshly drawn images."""
        disturb("load")
        return Glyphs(classes=3, size=12, train=96, test=64).load(root)


@component
class TroubledStudent(Training, StudentStrategy):
    """Learns from the labels, in two stages."""

    access = Access.NONE
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train, and train an epoch more."""
        yield self.stage(run, student, step, observers=[Watcher()])
        disturb("plan")
        yield self.stage(run, student, step, name="more", epochs=1)


def step(stage: Stage, batch: Batch) -> None:
    """One update on the cross-entropy."""
    if diary := os.environ.get("DIARY"):
        with Path(diary).open("a") as file:
            file.write(f"{stage.name} {stage.epoch} {stage.batch}\n")
    loss = F.cross_entropy(stage.module(batch.images), batch.labels)
    if stage.name == "student/train" and (stage.epoch, stage.batch) == MOMENT:
        disturb("step", len(batch.images))
        loss = loss * float("nan") if trouble("step") == "nan" else loss
        loss = loss + _cliff(stage) if trouble("step") == "cliff" else loss
    if stage.name == "student/train" and (stage.epoch, stage.batch) == FIRST:
        disturb("first step")
    if stage.name == "student/train" and (stage.epoch, stage.batch) == LAST:
        loss = loss + _cliff(stage) if trouble("last step") == "cliff" else loss
    stage.update(loss)


def _cliff(stage: Stage) -> Tensor:
    """Return a term that is 0 and whose gradient is no number."""
    weights = next(stage.target.parameters())
    return (weights - weights.detach()).sqrt().sum()


@component
class TroubledAttack(Attack):
    """Moves every image towards its negative."""

    access = Access.LABEL

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Ask once, and propose the negative."""
        source.query(x)
        disturb("craft", len(x))
        return 1 - x


@component
class TroubledCertifier(Certifier):
    """Claims that a margin shrinks by as much as the radius."""

    def unsupported(self, module: nn.Module) -> str | None:
        """Every network will do."""
        return None

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the margins of the images themselves, less the radius."""
        disturb("margins", len(x))
        logits: Tensor = module(x)
        own = y.unsqueeze(1)
        return (logits.gather(1, own) - logits - threat.eps).scatter(1, own, 0.0)


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce the components."""
    return [
        Spec(kind=kind, name="troubled", target=f"troubled:{name}", summary="Works, unless it is disturbed.")
        for kind, name in (
            ("data", "TroubledData"),
            ("student", "TroubledStudent"),
            ("attack", "TroubledAttack"),
            ("certifier", "TroubledCertifier"),
        )
    ]


@hookimpl
def rcframe_run_started(folder: Path | None) -> None:
    """Perhaps fail."""
    disturb("run_started")


@hookimpl
def rcframe_epoch_done(stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Perhaps fail."""
    disturb("epoch_done")


@hookimpl
def rcframe_run_finished(report: Report) -> None:
    """Perhaps fail."""
    disturb("run_finished")


@hookimpl
def rcframe_run_stopped(reason: str) -> None:
    """Perhaps fail."""
    disturb("run_stopped")

"""Records every run that writes a folder for TensorBoard, in the folder's `tensorboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcframe import Recorders, hookimpl, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rcframe import Report, Session

_RUNS = Recorders()


@hookimpl
def rcframe_run_started(session: Session, folder: Path | None) -> None:
    """Open the event file of a run."""
    if folder is not None:
        from rcframe_tensorboard.recorder import EventFile

        _RUNS.start(session, EventFile(folder / "tensorboard", settings_of(session)))


@hookimpl
def rcframe_epoch_done(session: Session, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Record the metrics of an epoch."""
    _RUNS.epoch_done(session, stage, epoch, metrics)


@hookimpl
def rcframe_run_finished(session: Session, report: Report) -> None:
    """Record what the run found."""
    _RUNS.finished(session, report)


@hookimpl
def rcframe_run_stopped(session: Session, reason: str) -> None:
    """Record why the run ended early."""
    _RUNS.stopped(session, reason)

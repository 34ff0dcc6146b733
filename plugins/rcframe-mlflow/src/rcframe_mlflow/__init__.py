"""Records runs in the MLflow store that `MLFLOW_TRACKING_URI` names; without that variable, nothing happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rcframe import Recorders, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rcframe import Report, Session

_RUNS = Recorders()
#: Weaker than what the user says, and said before mlflow is imported. Left alone, mlflow reports its use to its makers,
#: waits for minutes for a server that does not answer, and tells every table it creates.
_MANNERS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


@hookimpl
def rcframe_run_started(session: Session, folder: Path | None) -> None:
    """Open an MLflow run, or the earlier one of a run that goes on."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        for name, value in _MANNERS.items():
            os.environ.setdefault(name, value)
        from rcframe_mlflow.recorder import MlflowRun

        _RUNS.start(session, MlflowRun(uri, session, folder))


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

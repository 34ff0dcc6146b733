"""Telling plugins that observe runs what happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rcframe.registry import registry
from rcframe.session.report import Report
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.session.session import Session
    from rcframe.training.stage import Stage


class Tracking(Monitor):
    """Calls the observing hooks of plugins for one run."""

    def __init__(self, session: Session, folder: Path | None) -> None:
        self._session = session
        registry().run_started(session, folder)

    def stage_recalled(self, stage: Stage) -> None:
        """Tell the epochs of a stage that was trained before."""
        for epoch, metrics in enumerate(stage.history):
            registry().epoch_done(self._session, stage.name, epoch + 1, metrics)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Tell the epoch's metrics."""
        registry().epoch_done(self._session, stage.name, stage.epoch + 1, metrics)

    def finished(self, report: Report) -> None:
        """Tell the outcome."""
        registry().run_finished(self._session, report)

    def stopped(self, error: BaseException) -> None:
        """Tell that there is no outcome."""
        registry().run_stopped(self._session, str(error) or type(error).__name__)

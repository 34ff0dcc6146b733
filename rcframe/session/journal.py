"""What a run writes down while it goes: `metrics.jsonl` and `log.txt`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rcframe.errors import RunFailed
from rcframe.session.folder import RunFolder
from rcframe.session.metrics import read_metrics
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.training.stage import Stage


class Journal(Monitor):
    """Writes `metrics.jsonl`, a line per epoch, and `log.txt`; both grow when a run goes on after a stop."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.metrics
        _mend(self._path)
        # An epoch that is trained again after a stop gives the same numbers: its line is there already.
        self._written = {(line.stage, line.epoch) for line in read_metrics(self._path)}
        self._metrics = _open(self._path)
        self._log = _Log(folder.log, encoding="utf-8")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self._logger = logging.getLogger("rcframe")
        self._before = (self._logger.level, self._logger.propagate)
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self._log)
        self._logger.propagate = False
        self._started = 0.0

    def stage_started(self, stage: Stage) -> None:
        """Note the start of a stage."""
        self._started = time.monotonic()
        self._logger.info("stage %s: %d epochs of %d batches", stage.name, stage.epochs, len(stage.batches))

    def stage_recalled(self, stage: Stage) -> None:
        """Write the metrics of a stage that was trained before."""
        for epoch, metrics in enumerate(stage.history):
            self._write(stage.name, epoch + 1, None, metrics)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Write the epoch's metrics."""
        self._write(stage.name, stage.epoch + 1, round(time.monotonic() - self._started, 3), metrics)

    def _write(self, stage: str, epoch: int, seconds: float | None, metrics: Mapping[str, float]) -> None:
        if (stage, epoch) in self._written:
            return
        line = {"stage": stage, "epoch": epoch, "seconds": seconds, **metrics}
        try:
            self._metrics.write(json.dumps(line) + "\n")
            self._metrics.flush()
        except OSError as error:
            raise RunFailed(f"Cannot write `{self._path}`: {error.strerror}.") from error

    def stage_done(self, stage: Stage) -> None:
        """Note the end of a stage."""
        self._logger.info("stage %s: done", stage.name)

    def measuring(self, what: str, images: int) -> None:
        """Note a measurement."""
        self._logger.info("measuring %s on %d images", what, images)

    def said(self, text: str) -> None:
        """Keep what the user was told."""
        self._logger.info(text)

    def closed(self) -> None:
        """Close the files and leave logging as it was."""
        self._logger.removeHandler(self._log)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        # On a full disk, closing tries once more to write what could not be written.
        with contextlib.suppress(OSError):
            self._log.close()
        with contextlib.suppress(OSError):
            self._metrics.close()


class _Log(logging.FileHandler):
    """A log file whose failures do not fill the terminal; the run's other files report a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Lose the record."""


def _mend(path: Path) -> None:
    """Cut off a line that a killed process left half-written."""
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)


def _open(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise RunFailed(f"Cannot write `{path}`: {error.strerror}.") from error

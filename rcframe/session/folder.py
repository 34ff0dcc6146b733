"""The folder of a run: `run.toml`, `report.json`, `metrics.jsonl`, `log.txt` and the weights of both models."""

from __future__ import annotations

import itertools
import json
import logging
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import attrs
import torch
from torch import nn

from rcframe.errors import RequestError, RunFailed
from rcframe.files import write_text
from rcframe.networks.weights import Architecture, save_network
from rcframe.session.config import RunConfig, write_config
from rcframe.session.report import Report
from rcframe.session.versions import versions_used
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.session.session import Session
    from rcframe.training.stage import Stage


@attrs.frozen
class RunFolder:
    """An open run folder."""

    path: Path

    def write_config(self, session: Session) -> None:
        """Write the configuration that repeats the run."""
        environment = {
            "device": str(session.device),
            "threads": torch.get_num_threads(),
            "platform": platform.platform(),
        }
        facts = {"versions": versions_used(session.config), "environment": environment}
        write_text(self.path / "run.toml", write_config(session.config, session.parts.by_setting(), facts))

    def save_teacher(self, module: nn.Module, architecture: Architecture) -> None:
        """Save the teacher's weights."""
        save_network(self.path / "teacher.safetensors", module, architecture)

    def save_student(self, module: nn.Module, architecture: Architecture) -> None:
        """Save the student's weights."""
        save_network(self.path / "student.safetensors", module, architecture)

    def write_report(self, report: Report) -> None:
        """Write `report.json`."""
        write_text(self.path / "report.json", report.to_json())


def create_folder(path: Path) -> RunFolder:
    """Create the folder of a new run; one that exists already is refused, so that no run overwrites another."""
    if path.exists():
        raise RequestError(f"The output folder `{path}` exists already. Choose another with --out, or remove it.")
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise RequestError(f"Cannot create the output folder `{path}`: {error.strerror}.") from error
    if not os.access(path, os.W_OK):
        raise RequestError(f"The output folder `{path}` cannot be written.")
    return RunFolder(path)


def fresh_folder(config: RunConfig, parent: Path = Path("runs")) -> RunFolder:
    """Create a folder named after the run's parts and a number that is free."""
    parts = [config.data.name, config.teacher.name, *(choice.name for choice in config.students)]
    parts += [choice.name for choice in (*config.pruners, config.neuron) if choice]
    stem = "-".join(parts)
    for number in itertools.count(1):
        path = parent / f"{stem}-{number}"
        if not path.exists():
            return create_folder(path)
    raise AssertionError


class Journal(Monitor):
    """Writes `metrics.jsonl`, a line per epoch, and `log.txt`."""

    def __init__(self, folder: RunFolder) -> None:
        self._metrics = _open(folder.path / "metrics.jsonl")
        self._log = logging.FileHandler(folder.path / "log.txt", encoding="utf-8")
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

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Write the epoch's metrics."""
        seconds = round(time.monotonic() - self._started, 3)
        line = {"stage": stage.name, "epoch": stage.epoch + 1, "seconds": seconds, **metrics}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

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
        self._log.close()
        self._metrics.close()


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise RunFailed(f"Cannot write `{path}`: {error.strerror}.") from error

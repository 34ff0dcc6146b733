"""One run as a run of MLflow."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from rcframe import Recorder, Report, Session, figures_of, settings_of

#: Seconds without a try after the store failed, so that a dead server does not hold up every epoch.
PATIENCE = 60.0
#: Holds the id of the MLflow run, beside what the run of rcframe writes.
ID_FILE = "mlflow-run.txt"


class MlflowRun(Recorder):
    """Writes one MLflow run; that of a run that goes on is found by the file in its folder."""

    def __init__(self, uri: str, session: Session, folder: Path | None) -> None:
        self._client = MlflowClient(uri)
        self._folder = folder
        self._waiting: list[Metric] = []
        self._not_before = 0.0
        run = self._earlier() or self._new()
        self._id: str = run.info.run_id
        self._written = {(key, step) for key in run.data.metrics for step in self._steps(key)}
        # MLflow never changes a param; a run that goes on may have other threads, say.
        new = [Param(key, value) for key, value in settings_of(session).items() if key not in run.data.params]
        self._client.log_batch(self._id, params=new, tags=[RunTag("rcframe.command", session.command)])

    def epoch_done(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of each metric; what the store does not take waits for a later epoch."""
        self._add({f"{stage}/{name}": value for name, value in metrics.items()}, epoch)
        if time.monotonic() < self._not_before:
            return
        try:
            self._send()
        except Exception:
            self._not_before = time.monotonic() + PATIENCE
            raise

    def finished(self, report: Report) -> None:
        """Add the figures, and the files that tell the run."""
        self._add({f"final/{name}": value for name, value in figures_of(report).items()}, 0)
        self._send()
        for path in self._files():
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, "FINISHED")

    def stopped(self, reason: str) -> None:
        """Mark the MLflow run as failed, with the reason as a tag."""
        self._send()
        self._client.set_tag(self._id, "rcframe.stopped", reason)
        self._client.set_terminated(self._id, "FAILED")

    def _add(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        named = ((key_for(name), value) for name, value in values.items())
        self._waiting += [Metric(key, value, now, step) for key, value in named if (key, step) not in self._written]

    def _send(self) -> None:
        self._client.log_batch(self._id, metrics=self._waiting)
        self._waiting.clear()

    def _steps(self, key: str) -> list[int]:
        return [point.step for point in self._client.get_metric_history(self._id, key)]

    def _files(self) -> list[Path]:
        named = [self._folder / name for name in ("report.json", "run.toml")] if self._folder else []
        return [path for path in named if path.is_file()]

    def _earlier(self) -> Run | None:
        """Return the MLflow run of an earlier part of this run, set to running again."""
        if self._folder is None or not (file := self._folder / ID_FILE).is_file():
            return None
        try:
            run = self._client.get_run(file.read_text(encoding="utf-8").strip())
            self._client.update_run(run.info.run_id, status="RUNNING")
        except MlflowException:
            # It was deleted, or is in another store.
            return None
        return run

    def _new(self) -> Run:
        run = self._client.create_run(self._experiment(), run_name=self._name())
        if self._folder:
            (self._folder / ID_FILE).write_text(f"{run.info.run_id}\n", encoding="utf-8")
        return run

    def _name(self) -> str | None:
        # Of `digits-plain-kd-1/seed-3`, the last part alone would say little.
        return "/".join(self._folder.absolute().parts[-2:]) if self._folder else None

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "rcframe")
        try:
            return self._client.create_experiment(name)
        except MlflowException:
            # It exists, perhaps since a moment ago: runs may start at once.
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


def key_for(name: str) -> str:
    """Return a name that MLflow takes: `pgd:steps=5` becomes `pgd steps 5`, and no part of a path is empty or dots."""
    parts = [re.sub(r"[^\w.\- ]+", " ", part).strip() for part in name.split("/")]
    return "/".join(part for part in parts if part.strip("."))[:250] or "unnamed"

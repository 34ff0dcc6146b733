"""How a run goes, or went, seen from outside: read from its folder, without touching anything in it."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from rcframe.session.config import read_config
from rcframe.session.layout import RunFiles, refuse_unless_begun
from rcframe.session.logfile import Log, Remark, read_log
from rcframe.session.metrics import Line, read_metrics
from rcframe.session.worklog import Entry, Outcome, WorkLog, read_worklog
from rcframe.storage.locks import is_locked

State = Literal["running", "stopped", "finished"]


@attrs.frozen(kw_only=True)
class WatchedStage:
    """A stage that was begun, or found finished."""

    name: str
    #: The epochs that are over, as far as they are written.
    lines: tuple[Line, ...]
    #: How many epochs it has, and how many batches each; None where that is not known.
    total: int | None
    batches: int | None
    #: How it came about, once it is finished, and the seconds that took.
    finished: Outcome | None = None
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """How many epochs are over."""
        if self.finished and self.total is not None:
            return self.total
        return self.lines[-1].epoch if self.lines else 0

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of the last epoch."""
        return self.lines[-1].metrics if self.lines else {}

    def curve(self, metric: str) -> tuple[float, ...]:
        """Return one metric over the epochs."""
        return tuple(line.metrics[metric] for line in self.lines if metric in line.metrics)

    @property
    def epoch_seconds(self) -> float | None:
        """How long an epoch takes, in the middle; None before the first one that was trained here is over."""
        return statistics.median(taken) if (taken := list(_durations(self.lines))) else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take, if it goes on like this."""
        if self.total is None or self.epoch_seconds is None:
            return None
        return self.epoch_seconds * (self.total - self.done)


@attrs.frozen(kw_only=True)
class WatchedMeasurement:
    """A measurement that was begun, or found finished."""

    name: str
    images: int | None
    finished: Outcome | None = None
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class Asked:
    """What the folder says about the request."""

    command: str
    #: The first seed, and how many there are.
    seed: int
    seeds: int
    #: How many measurements a run has.
    measurements: int


@attrs.frozen
class Clean:
    """The clean accuracies that a finished run found, and the seconds it took."""

    teacher: float
    student: float
    seconds: float


@attrs.frozen(kw_only=True)
class WatchedRun:
    """A run with one seed at one moment."""

    path: Path
    asked: Asked
    state: State
    #: When anything was written last, in seconds since 1970.
    written: float
    #: The last one is under way, unless it is finished.
    stages: tuple[WatchedStage, ...]
    measurements: tuple[WatchedMeasurement, ...]
    #: What the run said besides.
    remarks: tuple[Remark, ...]
    #: What changed while the run was stopped.
    mixed: tuple[str, ...] = ()
    #: What it found, once it is finished.
    clean: Clean | None = None


@attrs.frozen(kw_only=True)
class WatchedSeeds:
    """A run that is repeated with several seeds, at one moment."""

    path: Path
    asked: Asked
    state: State
    written: float
    #: The seeds that were begun.
    runs: tuple[WatchedRun, ...]

    @property
    def seeds_to_come(self) -> tuple[int, ...]:
        """The seeds that were not begun yet."""
        begun = {run.asked.seed for run in self.runs}
        return tuple(seed for seed in _seeds(self.asked) if seed not in begun)


def look(path: Path) -> WatchedRun | WatchedSeeds:
    """Read the folder of a run that has begun."""
    files = RunFiles(path)
    refuse_unless_begun(files)
    asked = _asked(files)
    return _look_at_run(files, asked) if asked.seeds == 1 else _look_at_seeds(files, asked)


def _look_at_run(files: RunFiles, asked: Asked) -> WatchedRun:
    # The state comes first: what is read after it is at least as new, so that a finished run is shown whole.
    state = _state(files)
    log, work, lines = read_log(files.log), _worklog(files), list(read_metrics(files.metrics))
    return WatchedRun(
        path=files.path,
        asked=asked,
        state=state,
        written=_last_written(files),
        stages=tuple(_stages(log, work, lines)),
        measurements=tuple(_measurements(log, work)),
        remarks=tuple(log.remarks),
        mixed=tuple(work.mixed),
        clean=_clean(files) if state == "finished" else None,
    )


def _look_at_seeds(files: RunFiles, asked: Asked) -> WatchedSeeds:
    state = _state(files)
    folders = (RunFiles(files.of_seed(seed)) for seed in _seeds(asked))
    runs = tuple(_look_at_run(folder, _asked(folder)) for folder in folders if folder.config.is_file())
    if state == "stopped" and any(run.state == "running" for run in runs):
        state = "running"
    written = max([_last_written(files), *(run.written for run in runs)])
    return WatchedSeeds(path=files.path, asked=asked, state=state, written=written, runs=runs)


def _seeds(asked: Asked) -> range:
    return range(asked.seed, asked.seed + asked.seeds)


def _state(files: RunFiles) -> State:
    # In this order: a run that ends in between has its report before it lets go of the lock.
    working = is_locked(files.lock)
    return "finished" if files.report.exists() else "running" if working else "stopped"


def _asked(files: RunFiles) -> Asked:
    document = read_config(files.config)
    specs = {spec for kind in ("attack", "certifier") for spec in _typed(document, kind)}
    return Asked(
        command=str(document.get("command", "rcframe run")),
        seed=_number(document, "seed", 0),
        seeds=_number(document, "seeds", 1),
        # Teacher and student, each also without an attack.
        measurements=2 * (1 + len(specs)),
    )


def _typed(document: Mapping[str, object], kind: str) -> Sequence[str]:
    typed = document.get("typed")
    specs = typed.get(kind) if isinstance(typed, dict) else None
    return [str(spec) for spec in specs] if isinstance(specs, list) else []


def _number(document: Mapping[str, object], key: str, default: int) -> int:
    value = document.get(key, default)
    return value if isinstance(value, int) else default


def _worklog(files: RunFiles) -> WorkLog:
    with contextlib.suppress(FileNotFoundError):
        return read_worklog(files.worklog)
    return WorkLog()


def _stages(log: Log, work: WorkLog, lines: Iterable[Line]) -> Iterator[WatchedStage]:
    epochs: dict[str, list[Line]] = {}
    for line in lines:
        epochs.setdefault(line.stage, []).append(line)
    finished = {entry.identity.name: entry for entry in work.entries if not _measures(entry)}
    for name in dict.fromkeys([*finished, *epochs, *log.stages]):
        entry, begun = finished.get(name), log.stages.get(name)
        yield WatchedStage(
            name=name,
            lines=tuple(epochs.get(name, ())),
            total=begun.epochs if begun else _part(entry, "epochs"),
            batches=begun.batches if begun else _part(entry, "batches"),
            finished=entry.outcome if entry else None,
            seconds=entry.seconds if entry else 0.0,
        )


def _measurements(log: Log, work: WorkLog) -> Iterator[WatchedMeasurement]:
    finished = {entry.identity.name: entry for entry in work.entries if _measures(entry)}
    for name in dict.fromkeys([*finished, *log.measurements]):
        entry = finished.get(name)
        yield WatchedMeasurement(
            name=name,
            images=log.measurements.get(name),
            finished=entry.outcome if entry else None,
            seconds=entry.seconds if entry else 0.0,
        )


def _measures(entry: Entry) -> bool:
    """Say whether work is a measurement, which alone depends on the images that are measured."""
    return "test images" in entry.identity.parts


def _part(entry: Entry | None, name: str) -> int | None:
    text = entry.identity.parts.get(name, "") if entry else ""
    return int(text) if text.isdecimal() else None


def _durations(lines: Sequence[Line]) -> Iterator[float]:
    """Yield how long epochs took. The clock of a stage starts anew when a stopped run goes on."""
    clock = [0.0, *(line.seconds for line in lines if line.seconds is not None)]
    for before, now in itertools.pairwise(clock):
        yield now - before if now >= before else now


def _last_written(files: RunFiles) -> float:
    """Return when a run wrote anything last; what it writes may come and go meanwhile."""
    latest = 0.0
    for path in (files.config, files.metrics, files.log, files.worklog, files.report, files.progress):
        with contextlib.suppress(OSError):
            latest = max(latest, path.stat().st_mtime)
    return latest


def _clean(files: RunFiles) -> Clean | None:
    """Return the clean accuracies of a report, which is only read whole where it is shown."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(files.report.read_text(encoding="utf-8"))
        teacher, student = (float(found[role]["clean"]["accuracy"]) for role in ("teacher", "student"))
        return Clean(teacher, student, float(found["seconds"]))
    return None

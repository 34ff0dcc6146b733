"""Promises of plugins that are told about runs: they follow any run, and keep runs apart."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rcframe.testing.subject import Watcher

if TYPE_CHECKING:
    from rcframe.session.report import Report
    from rcframe.session.session import Session

_DATA, _MODEL, _LEARN = "glyphs:size=8,classes=3,train=24,test=12", "mlp:hidden=4", "plain:epochs=1"
_METRICS = {"loss": 0.5, "accuracy": 0.75}
#: Stands for what a run writes into its folder itself.
_OWN = {name: f"{name} of the run\n" for name in ("run.toml", "report.json", "metrics.jsonl", "log.txt")}


def check_watcher_follows_a_run(watcher: Watcher) -> None:
    """It takes every hook of a run from start to report, and leaves the files of the run alone."""
    with _folder() as folder:
        session = _session()
        watcher.tell("rcframe_run_started", session=session, folder=folder)
        _epochs(watcher, session, 1, 2)
        watcher.tell("rcframe_run_finished", session=session, report=_report())
        _assert_intact(folder)


def check_watcher_bears_a_run_without_a_folder(watcher: Watcher) -> None:
    """It takes a run that writes nothing."""
    session = _session()
    watcher.tell("rcframe_run_started", session=session, folder=None)
    _epochs(watcher, session, 1)
    watcher.tell("rcframe_run_finished", session=session, report=_report())


def check_watcher_bears_a_run_that_stops(watcher: Watcher) -> None:
    """It takes a run that ends without a report, early or late."""
    for epochs in ([], [1, 2]):
        with _folder() as folder:
            session = _session()
            watcher.tell("rcframe_run_started", session=session, folder=folder)
            _epochs(watcher, session, *epochs)
            watcher.tell("rcframe_run_stopped", session=session, reason="The disk is full.")
            _assert_intact(folder)


def check_watcher_keeps_runs_apart(watcher: Watcher) -> None:
    """What it hears of one run does not get into the folder of another that is under way."""
    with _folder() as one, _folder() as other:
        first, second = _session(), _session()
        watcher.tell("rcframe_run_started", session=first, folder=one)
        watcher.tell("rcframe_run_started", session=second, folder=other)
        before = _content(other)
        _epochs(watcher, first, 1, 2)
        watcher.tell("rcframe_run_finished", session=first, report=_report())
        assert _content(other) == before, "the folder of a run changed with the epochs of another run"
        _epochs(watcher, second, 1)
        watcher.tell("rcframe_run_finished", session=second, report=_report())


def check_watcher_bears_a_run_that_goes_on(watcher: Watcher) -> None:
    """It takes a killed run that is started again in its folder and repeats an epoch."""
    with _folder() as folder:
        for epochs in ([1, 2], [2, 3]):
            session = _session()
            watcher.tell("rcframe_run_started", session=session, folder=folder)
            _epochs(watcher, session, *epochs)
        watcher.tell("rcframe_run_finished", session=session, report=_report())
        _assert_intact(folder)


def _epochs(watcher: Watcher, session: Session, *epochs: int) -> None:
    for epoch in epochs:
        watcher.tell("rcframe_epoch_done", session=session, stage="student", epoch=epoch, metrics=dict(_METRICS))


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder with the files of a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in _OWN.items():
            (folder / file).write_text(text, encoding="utf-8")
        yield folder


def _assert_intact(folder: Path) -> None:
    for file, text in _OWN.items():
        assert (folder / file).read_text(encoding="utf-8") == text, f"`{file}` of the run's folder was changed"


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _session() -> Session:
    from rcframe.session.config import make_config
    from rcframe.session.session import prepare_session

    asked = {"data": _DATA, "model": _MODEL, "teacher": _LEARN, "student": _LEARN, "device": "cpu"}
    return prepare_session(make_config(asked), "rcframe check")


@functools.cache
def _report() -> Report:
    from rcframe.library import run

    return run(data=_DATA, model=_MODEL, teacher=_LEARN, student=_LEARN, device="cpu")

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rcframe.errors import RunFailed
from rcframe.session.config import make_config
from rcframe.session.session import Session, carry_out, prepare_session
from rcframe.session.tracking import Tracking
from rcframe.storage.cache import Cache
from rcframe.testing.toys import toy_run
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

if TYPE_CHECKING:
    from tests.conftest import Install
    from tests.session.conftest import MakeReport

WATCH = """
heard = []

@hookimpl
def rcframe_run_started(session, folder):
    heard.append(("started", session.command, folder))

@hookimpl
def rcframe_epoch_done(session, stage, epoch, metrics):
    heard.append((session.command, stage, epoch, dict(metrics)))

@hookimpl
def rcframe_run_finished(session, report):
    heard.append(("finished", session.command, report))

@hookimpl
def rcframe_run_stopped(session, reason):
    heard.append(("stopped", session.command, reason))
"""
TINY: dict[str, object] = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "device": "cpu",
    "teacher": "plain:epochs=2",
    "student": "plain:epochs=1",
}


@pytest.fixture
def heard(install: Install) -> list[Any]:
    """What a plugin that watches runs is told."""
    install("acme-watch", body=WATCH)
    from rcframe.registry import registry

    assert [plugin for plugin in registry().plugins if plugin.distribution == "acme-watch"]
    told: list[Any] = sys.modules["acme_watch"].heard
    return told


def session_of(**settings: object) -> Session:
    return prepare_session(make_config({**TINY, **settings}), "a test")


def stage_of(history: list[dict[str, float]]) -> Stage:
    run = toy_run("student")
    stage = Training(epochs=5).stage(run, run.network("net"), supervised)
    stage.history = history
    return stage


def test_what_happens_in_a_run_is_told_to_plugins_that_watch(
    heard: list[Any], make_report: MakeReport, tmp_path: Path
) -> None:
    tracking, stage, report = Tracking(session_of(), tmp_path), stage_of([]), make_report()
    stage.epoch = 3
    tracking.epoch_done(stage, {"loss": 0.5})
    tracking.finished(report)
    tracking.stopped(RunFailed("The disk is full."))
    assert heard == [
        ("started", "a test", tmp_path),
        ("a test", "student/train", 4, {"loss": 0.5}),
        ("finished", "a test", report),
        ("stopped", "a test", "The disk is full."),
    ]


def test_a_stage_that_was_trained_before_is_told_epoch_by_epoch(heard: list[Any]) -> None:
    tracking = Tracking(session_of(), None)
    tracking.stage_recalled(stage_of([{"loss": 2.0}, {"loss": 1.0}]))
    assert heard[1:] == [("a test", "student/train", 1, {"loss": 2.0}), ("a test", "student/train", 2, {"loss": 1.0})]


def test_an_end_without_words_is_told_by_its_kind(heard: list[Any]) -> None:
    Tracking(session_of(), None).stopped(KeyboardInterrupt())
    assert heard[-1] == ("stopped", "a test", "KeyboardInterrupt")


def test_a_whole_run_is_told_alike_whether_trained_or_recalled(heard: list[Any], tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        heard.clear()
        report = carry_out(session_of(), Monitor(), cache=Cache(tmp_path))
        assert heard[0] == ("started", "a test", None)
        assert heard[-1] == ("finished", "a test", report)
        told.append(heard[1:-1])
    assert [(stage, epoch) for _, stage, epoch, _ in told[0]] == [
        *(("teacher/train", 1), ("teacher/train", 2), ("student/train", 1))
    ]
    assert told[0] == told[1]


def test_a_run_that_fails_is_told_as_stopped(heard: list[Any]) -> None:
    class Failing(Monitor):
        def stage_done(self, stage: Stage) -> None:
            raise RunFailed("No luck.")

    with pytest.raises(RunFailed):
        carry_out(session_of(), Failing())
    assert heard[-1] == ("stopped", "a test", "No luck.")
    assert not [event for event in heard if event[0] == "finished"]

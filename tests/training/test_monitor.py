from __future__ import annotations

import inspect
from typing import Any, cast

import pytest

from rcframe.data.images import Batch
from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor, Monitors
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

EVENTS = [name for name, _ in inspect.getmembers(Monitor, inspect.isfunction) if not name.startswith("_")]


class Ear(Monitor):
    """Keeps every event with its arguments."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in EVENTS:
            return lambda *arguments: self.heard.append((name, arguments))
        return super().__getattribute__(name)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_every_monitor_with_its_arguments(event: str) -> None:
    first, second = Ear(), Ear()
    arguments = [object() for _ in list(inspect.signature(getattr(Monitor, event)).parameters)[1:]]
    getattr(Monitors([first, second]), event)(*arguments)
    assert first.heard == second.heard == [(event, tuple(arguments))]


def test_a_monitor_does_nothing_unless_told() -> None:
    monitor, stage = Monitor(), cast(Stage, None)
    monitor.stage_started(stage)
    monitor.batch_done(stage, 1)
    monitor.epoch_done(stage, {})
    monitor.stage_done(stage)
    monitor.stage_recalled(stage)
    monitor.measuring("clean", 1)
    monitor.measured(1)
    monitor.said("text")
    monitor.closed()


def test_watching_changes_no_training() -> None:
    results = set()
    for monitor in (Monitor(), Monitors([Ear(), Ear()])):
        run = toy_run("student")
        stage = Training(epochs=1, batch_size=16).stage(run, run.network("student"), supervised)
        execute(iter([stage]), monitor)
        results.add(fingerprint(stage.target))
    assert len(results) == 1


def test_a_step_can_tell_the_user_something() -> None:
    ear = Ear()

    def step(stage: Stage, batch: Batch) -> None:
        if stage.batch == 0:
            stage.say("it rains")

    run = toy_run("student")
    stage = Training(epochs=1, batch_size=16).stage(run, run.network("student"), step)
    stage.say("nobody hears this")
    execute(iter([stage]), ear)
    assert [arguments for name, arguments in ear.heard if name == "said"] == [("it rains",)]

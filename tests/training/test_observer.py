from __future__ import annotations

from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.steps import supervised


def trained(*observers: Observer) -> str:
    run = toy_run("student")
    stage = Training(epochs=2, batch_size=16).stage(run, run.network("student"), supervised, observers=observers)
    execute(iter([stage]), Monitor())
    return fingerprint(stage.target)


def test_an_observer_that_overrides_nothing_changes_nothing() -> None:
    assert trained(Observer(), Observer()) == trained()


def test_an_observer_that_overrides_nothing_has_no_state() -> None:
    observer = Observer()
    assert observer.state_dict() == {}
    observer.load_state_dict({})

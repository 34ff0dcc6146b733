from __future__ import annotations

from rcframe.loop import execute
from rcframe.monitor import Monitor
from rcframe.observer import Observer
from rcframe.steps import supervised
from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training import Training


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

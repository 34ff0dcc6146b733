"""The promises of plugins that watch runs: how each is broken, and that it is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rcframe.testing import checks_of

if TYPE_CHECKING:
    from tests.conftest import Install

SOUND = """
from rcframe import hookimpl
runs = {}

@hookimpl
def rcframe_run_started(session, folder):
    runs[id(session)] = folder

@hookimpl
def rcframe_epoch_done(session, stage, epoch, metrics):
    if folder := runs.get(id(session)):
        with (folder / "curves.txt").open("a") as file:
            file.write(f"{stage} {epoch} {metrics['loss']}")

@hookimpl
def rcframe_run_finished(session, report):
    runs.pop(id(session))

@hookimpl
def rcframe_run_stopped(session, reason):
    runs.pop(id(session))
"""


@pytest.fixture
def broken(install: Install) -> Callable[[str], set[str]]:
    """Name the promises that a plugin module breaks."""

    def found(source: str) -> set[str]:
        install("acme-watch", source=source)
        failed = set()
        for check in checks_of("acme-watch"):
            try:
                check()
            except Exception:
                failed.add(check.name)
        return failed

    return found


# The check of the entry module starts a process that does not see generated plugins.
ENTRY = "entry_module_is_free_of_torch"
ALL = {
    "watcher_follows_a_run",
    "watcher_bears_a_run_without_a_folder",
    "watcher_bears_a_run_that_stops",
    "watcher_keeps_runs_apart",
    "watcher_bears_a_run_that_goes_on",
}


@pytest.mark.parametrize(
    ("sound", "instead", "promises"),
    [
        ("report)", "report)", set()),
        ("report):", "report):\n    report.no_such_figure", ALL - {"watcher_bears_a_run_that_stops"}),
        ("= folder", "= folder.resolve()", {"watcher_bears_a_run_without_a_folder"}),
        ("reason):", "reason):\n    reason.no_such_thing", {"watcher_bears_a_run_that_stops"}),
        ("curves.txt", "metrics.jsonl", ALL - {"watcher_bears_a_run_without_a_folder", "watcher_keeps_runs_apart"}),
        ("runs[id(session)] = ", "runs.clear(); runs[0] = ", ALL),
        ("runs.get(id(session))", "list(runs.values())[-1]", {"watcher_keeps_runs_apart"}),
        (
            "= folder",
            "= folder\n    if folder and (folder / 'curves.txt').exists():\n        raise FileExistsError",
            {"watcher_bears_a_run_that_goes_on"},
        ),
    ],
    ids=["sound", "report", "no folder", "reason", "own files", "no runs", "one for all", "no second part"],
)
def test_a_broken_promise_is_caught(
    sound: str, instead: str, promises: set[str], broken: Callable[[str], set[str]]
) -> None:
    assert sound in SOUND
    assert broken(SOUND.replace(sound, instead)) - {ENTRY} == promises

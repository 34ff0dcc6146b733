"""Each check catches its fault: a sound engine passes, and each broken one fails where it must."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from rcframe.api import Component, Engine
from rcframe.errors import RequestError
from rcframe.jobs import Ended, Job, run_job
from rcframe.options import component
from rcframe.testing import engine_promises
from rcframe.testing.subject import Subject

UnderCheck = Callable[[type[Component]], Subject]


@component
class Sound(Engine):
    """One job after the other."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for job in jobs:
            yield run_job(job, threads=1)


@component
class NeedsACluster(Engine):
    """Cannot be checked here."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        raise RequestError("There is no cluster.")


@component
class Twice(Sound):
    """Tells of every job twice."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for ended in super().carry_out(jobs, place):
            yield ended
            yield ended


@component
class GivesUp(Sound):
    """Ends with the first job that fails."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for ended in super().carry_out(jobs, place):
            yield ended
            if ended.code:
                return


@component
class Hides(Sound):
    """Calls every job a success."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for ended in super().carry_out(jobs, place):
            yield Ended(ended.job, 0)


@component
class Forgets(Sound):
    """Forgets why a job failed."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for ended in super().carry_out(jobs, place):
            yield attrs.evolve(ended, reason="")


@component
class StaysHere(Sound):
    """Runs every job in the same folder."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        return super().carry_out([attrs.evolve(job, folder=place) for job in jobs], place)


@component
class Own(Engine):
    """Starts processes by itself, and leaves them alone when it is interrupted."""

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            # All have started before the first has begun, so that an interrupt meets none half started.
            for job in jobs[:4]:
                processes.append(self.started(job))
            for job, process in zip(jobs, processes, strict=False):
                yield Ended(job, process.wait())
        finally:
            self.interrupted(processes)

    def started(self, job: Job) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "rcframe", *job.arguments]
        return subprocess.Popen(command, env=dict(job.environment), cwd=job.folder, stderr=subprocess.DEVNULL)

    def interrupted(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """Do nothing about it."""


@component
class Kills(Own):
    """Gives jobs no time to keep their state."""

    def interrupted(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
            process.wait()


@component
class Asks(Own):
    """Asks jobs to stop and does not wait for them."""

    def interrupted(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.terminate()


@pytest.mark.parametrize("name", [name for name in vars(engine_promises) if name.startswith("check_engine")])
@pytest.mark.parametrize("engine", [Sound, NeedsACluster])
def test_a_sound_engine_passes_and_one_that_needs_more_than_a_check_has_is_left_alone(
    engine: type[Engine], name: str, subject: UnderCheck
) -> None:
    getattr(engine_promises, name)(subject(engine))


@pytest.mark.parametrize(
    ("engine", "check", "said"),
    [
        (Twice, "ends_every_job_once", "of 4 jobs, these ended"),
        (Hides, "reports_a_job_that_fails", "were reported as"),
        (Hides, "bears_a_job_that_is_killed", "a job that was given 1 times was reported as"),
        (GivesUp, "reports_a_job_that_fails", "were reported as"),
        (GivesUp, "bears_a_job_that_is_killed", "not every job ended"),
        (Forgets, "reports_a_job_that_fails", "was told as ``"),
        (Forgets, "bears_a_job_that_is_killed", "has no reason"),
        (StaysHere, "gives_a_job_what_it_asks_for", "instead of its folder"),
        (Own, "ends_every_job_once", "the log of a job lacks"),
        (Kills, "stops_when_interrupted", "no time to keep its state"),
        (Asks, "stops_when_interrupted", "no time to keep its state"),
    ],
)
def test_a_broken_engine_is_caught(engine: type[Engine], check: str, said: str, subject: UnderCheck) -> None:
    with pytest.raises(AssertionError, match=said):
        getattr(engine_promises, f"check_engine_{check}")(subject(engine))


def test_an_engine_that_leaves_its_jobs_running_is_caught(subject: UnderCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(Own, "interrupted", lambda self, processes: left.extend(processes))
    try:
        with pytest.raises(AssertionError, match="goes on although"):
            engine_promises.check_engine_stops_when_interrupted(subject(Own))
    finally:
        Kills().interrupted(left)

"""Engines for tests: one that carries jobs out in this process, and one that tells of endings as it is told to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from rcframe import component, option
from rcframe.api import Engine
from rcframe.jobs import Ended, Job, why_failed

#: A run that trains for a moment.
TINY: Mapping[str, object] = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "device": "cpu",
    "teacher.epochs": 1,
    "student.epochs": 1,
}


def carried_out(job: Job) -> Ended:
    """Carry out a job in this process."""
    from rcframe.cli import main

    code: int | str | None = None
    with (
        job.log.open("w") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        mock.patch.dict(os.environ, {**job.environment, "COLUMNS": "300"}),
    ):
        try:
            main(job.arguments)
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Ended(job, code, why_failed(job.log, code))


class InProcess(Engine):
    """Carries out one job after the other in this process, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[Job] = []
        self.place = Path()

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        self.given, self.place = list(jobs), place
        return map(self.end, jobs)

    def end(self, job: Job) -> Ended:
        return carried_out(job)

    @property
    def names(self) -> list[str]:
        """The names of the rows it was given, as they are in the ids of the runs."""
        return [job.name.rpartition("-")[0] for job in self.given]


class Acting(InProcess):
    """Lets jobs end as it is told by their number, and carries out the others."""

    def __init__(self, endings: Mapping[int, Callable[[Job], Ended]]) -> None:
        super().__init__()
        self.endings = endings
        self.closed = False

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        self.given, self.place = list(jobs), place
        try:
            for number, job in enumerate(jobs):
                yield self.endings.get(number, carried_out)(job)
        finally:
            self.closed = True


@component
class Here(Engine):
    """Carries jobs out in this process, but for two students: one fails, the other interrupts."""

    fails: str = option(default="", help="The student that fails.")
    stops: str = option(default="", help="The student that interrupts.")

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        for job in jobs:
            student = job.name.partition("-")[0]
            if student == self.stops:
                raise KeyboardInterrupt
            yield Ended(job, 1, "No [luck].") if student == self.fails else carried_out(job)

"""Promises of engines: every job ends once, one that fails hurts no other, and an interrupt stops what runs."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rcframe.api import Engine
from rcframe.errors import RequestError
from rcframe.jobs import Ended, Job
from rcframe.testing.acting import KILLED, LASTING, acting
from rcframe.testing.subject import Subject

#: Seconds within which a job must have begun, even where an engine has to be started first.
_PATIENCE = 120.0
_SILENT = ""
_SAYS_WHERE = "import os; print(os.getcwd(), os.environ['ASKED'])"


def check_engine_ends_every_job_once(subject: Subject) -> None:
    """Every job ends exactly once, what it prints is in its log, and without jobs there is nothing to do."""
    with _place() as place:
        version = Job("version", ("--version",), place / "logs" / "version.txt", folder=place)
        jobs = [version, *(acting(place, f"silent-{number}", _SILENT) for number in range(3))]
        ended = _carried_out(subject, jobs, place)
        if ended is None:
            return
        names = sorted(one.job.name for one in ended)
        assert names == sorted(job.name for job in jobs), f"of 4 jobs, these ended: {', '.join(names) or 'none'}"
        assert all((one.code, one.reason) == (0, "") for one in ended), f"jobs that did nothing wrong failed: {ended}"
        assert _said(version).startswith("rcframe "), "the log of a job lacks what the job printed"
        assert _carried_out(subject, [], place) == [], "without any job, something ended"


def check_engine_reports_a_job_that_fails(subject: Subject) -> None:
    """A job that fails is reported with its exit code and its own words, and the others are carried out."""
    with _place() as place:
        wrong = Job("wrong", ("info", "data", "no-such-data"), place / "logs" / "wrong.txt", folder=place)
        jobs = [acting(place, "before", _SILENT), wrong, acting(place, "after", _SILENT)]
        ended = _carried_out(subject, jobs, place)
        if ended is None:
            return
        codes = {one.job.name: one.code for one in ended}
        assert codes == {"before": 0, "wrong": 2, "after": 0}, f"the exit codes 0, 2 and 0 were reported as {codes}"
        (reason,) = (one.reason for one in ended if one.job == wrong)
        assert reason.startswith("No data named `no-such-data`."), f"the reason of the failure was told as `{reason}`"


def check_engine_bears_a_job_that_is_killed(subject: Subject) -> None:
    """A job that is killed is given again or reported as failed, and the others are carried out."""
    with _place() as place:
        jobs = [acting(place, "killed", KILLED, "1"), acting(place, "after", _SILENT)]
        ended = _carried_out(subject, jobs, place)
        if ended is None:
            return
        reported = {one.job.name: one for one in ended}
        assert set(reported) == {"killed", "after"}, "after a job was killed, not every job ended"
        given = len((place / "killed" / "given").read_text(encoding="utf-8"))
        killed = reported["killed"]
        assert (killed.code == 0) == (given > 1), f"a job that was given {given} times was reported as {killed}"
        assert killed.code == 0 or killed.reason, "a job that was killed has no reason"


def check_engine_gives_a_job_what_it_asks_for(subject: Subject) -> None:
    """A job gets its variables and runs in its folder."""
    with _place() as place:
        job = acting(place, "asks", _SAYS_WHERE)
        job = Job(job.name, job.arguments, job.log, {**job.environment, "ASKED": "granted"}, job.folder)
        if _carried_out(subject, [job], place) is None:
            return
        assert _said(job) == f"{job.folder} granted\n", f"instead of its folder and a variable, it said: {_said(job)}"


def check_engine_stops_when_interrupted(subject: Subject) -> None:
    """Ctrl-C asks jobs that run to stop and waits for them; none of those that waited begins any more."""
    with _place() as place:
        jobs = [acting(place, f"lasting-{number}", LASTING) for number in range(20)]
        with _interrupting(lambda: any(map(_begun, jobs))) as pressed:
            ended = _interrupted(subject, jobs, place)
        if ended is None:
            return
        begun = list(filter(_begun, jobs))
        kept = [job for job in begun if (job.folder / "kept").is_file()]
        assert pressed.is_set(), f"the jobs ended by themselves: {ended}"
        assert begun, f"no job had begun after {_PATIENCE:.0f} s"
        before = list(map(_beats, jobs))
        time.sleep(0.5)
        assert list(map(_beats, jobs)) == before, "a job goes on although the engine was interrupted"
        assert len(kept) == len(begun), "a job was not asked to stop, or got no time to keep its state"


def _begun(job: Job) -> bool:
    return (job.folder / "begun").exists()


def _beats(job: Job) -> int:
    """Return how much a lasting job has written so far."""
    beats = job.folder / "beats"
    return beats.stat().st_size if beats.exists() else 0


def _said(job: Job) -> str:
    return job.log.read_text(encoding="utf-8") if job.log.is_file() else ""


def _carried_out(subject: Subject, jobs: Sequence[Job], place: Path) -> list[Ended] | None:
    """Return how the jobs ended; None if the engine asks for what a check cannot bring, such as a cluster."""
    engine = cast(Engine, subject.make())
    try:
        return list(engine.carry_out(jobs, place / "engine"))
    except RequestError:
        return None


def _interrupted(subject: Subject, jobs: Sequence[Job], place: Path) -> list[Ended] | None:
    try:
        return _carried_out(subject, jobs, place)
    except KeyboardInterrupt:
        return []


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        (place / "engine").mkdir()
        yield place


@contextmanager
def _interrupting(begun: Callable[[], bool]) -> Iterator[threading.Event]:
    """Press Ctrl-C as soon as `begun`, or when patience ends; the value says whether that has happened."""
    over, pressed = threading.Event(), threading.Event()
    deadline = time.monotonic() + _PATIENCE

    def press() -> None:
        while not over.wait(0.05):
            if begun() or time.monotonic() > deadline:
                pressed.set()
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = threading.Thread(target=press, daemon=True)
    watching.start()
    try:
        yield pressed
    finally:
        over.set()
        watching.join()
        signal.signal(signal.SIGINT, before)

"""Jobs: runs that somebody else carries out, each a command that can be given again until it is done.

Whoever places jobs needs no torch: this file imports none.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

#: Variables by which numerical libraries are told how many threads to use.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Set where `OMP_NUM_THREADS` is the share of a job and no wish of the user.
THREAD_SHARE = "RCFRAME_THREAD_SHARE"
_ERROR = re.compile(r"^Error: ", re.MULTILINE)
#: Seconds that a job has for keeping its state after it was asked to stop.
GRACE = 60.0
#: What is run for a job: rcframe, with an eye on us.
_ATTENDED = Path(__file__).with_name("attended.py")
#: Seconds between two looks at a process: an interrupt that comes without a signal is noticed at a look only.
_LOOK = 0.5


@attrs.frozen
class Job:
    """One run as a command. Given again, it goes on where it was; given when it is done, it does nothing."""

    #: Unique among the jobs that are carried out together.
    name: str
    #: What follows `rcframe`; paths in it are absolute.
    arguments: tuple[str, ...]
    #: Where what it prints goes; an absolute path.
    log: Path
    #: Variables to set for it, besides those that are there.
    environment: Mapping[str, str] = attrs.field(factory=dict)
    #: The folder it runs in, from which relative paths in its configuration count; by default the present one.
    folder: Path = attrs.field(factory=Path.cwd)


@attrs.frozen
class Ended:
    """A job that ended."""

    job: Job
    #: As processes exit: 0 for done, negative for killed by that signal; None if that could not be learned.
    code: int | None
    #: Why it failed, in words; empty if it did not.
    reason: str = ""

    @property
    def killed(self) -> bool:
        """Whether it was killed by a signal, which is no failure of its own: given again, it may well succeed."""
        return self.code is not None and self.code < 0


class Running:
    """The processes of jobs that run on this machine now."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether no further job may start."""
        return self._stopped

    @contextlib.contextmanager
    def holding(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Know of a process while it runs."""
        with self._changed:
            self._processes.add(process)
            if self._stopped:
                process.terminate()
        try:
            yield
        finally:
            with self._changed:
                self._processes.discard(process)
                self._changed.notify_all()

    def stop(self) -> None:
        """Ask every job to keep its state and end, and let none start any more."""
        with self._changed:
            if self._stopped:
                # A run that is asked twice ends at once, without keeping its state.
                return
            self._stopped = True
            for process in self._processes:
                process.terminate()

    def end(self, grace: float = GRACE) -> None:
        """Stop, and return when every job has ended. Those that take longer than `grace` seconds are killed.

        An interrupt while it waits, such as a second Ctrl-C, kills them at once.
        """
        try:
            self.stop()
            with self._changed:
                self._changed.wait_for(lambda: not self._processes, grace)
        finally:
            with self._changed:
                for process in self._processes:
                    process.kill()
                self._changed.wait_for(lambda: not self._processes)


def run_job(
    job: Job, *, threads: int, environment: Mapping[str, str] | None = None, among: Running | None = None
) -> Ended:
    """Carry out a job in a process of its own on this machine, with so many processor threads.

    `environment` sets more variables, and `among` is told of the process while it runs.
    """
    running = among or Running()
    if running.stopped:
        return Ended(job, None, "it was stopped before it started")
    if not hears_of_children():
        return Ended(job, None, "it was not started: its end could not be learned where SIGCHLD is ignored")
    settings = {**os.environ, **thread_share(threads), **job.environment, **(environment or {})}
    try:
        process = _start(job, settings)
    except OSError as error:
        return Ended(job, None, f"it cannot start on this machine: {error.strerror} (`{error.filename}`)")
    with running.holding(process):
        try:
            code = _wait(process)
        except BaseException:
            _end(process)
            raise
    return Ended(job, code, why_failed(job.log, code))


def hears_of_children() -> bool:
    """Return whether this process learns how its children end.

    Whoever starts a process may have it ignore SIGCHLD. Then every job would seem to end well. The main thread can, and
    does, undo that.
    """
    number = getattr(signal, "SIGCHLD", None)
    if number is None or signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL):
        return True
    if threading.current_thread() is threading.main_thread():
        # Also where it seems to be so: libraries such as Ray change it behind Python's back.
        signal.signal(number, signal.SIG_DFL)
    return signal.getsignal(number) is signal.SIG_DFL


def thread_share(threads: int) -> dict[str, str]:
    """Return the variables that keep a job to so many threads, or to fewer where the user wants fewer."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    limited = min(threads, int(wanted)) if wanted.isdecimal() and int(wanted) else threads
    share = dict.fromkeys(_THREADS, str(limited))
    return share if wanted else {**share, THREAD_SHARE: str(limited)}


def _start(job: Job, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", str(_ATTENDED), str(os.getpid()), *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=settings,
            cwd=job.folder,
            # A terminal sends Ctrl-C to a whole group. A run that hears of it that way and is stopped by us as well
            # would take it for the second Ctrl-C, and end without keeping its state.
            process_group=0,
        )


def _wait(process: subprocess.Popen[bytes]) -> int:
    while (code := process.poll()) is None:
        try:
            process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            continue
    return code


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to keep its state and end; one that does not is killed."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        process.kill()
        process.wait()


def why_failed(log: Path, code: int | None) -> str:
    """Return what a job said of its failure, in one line; nothing if it did not fail."""
    if code == 0:
        return ""
    if code is not None and code < 0:
        return f"it was killed by signal {-code}; too little memory is a frequent reason"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    said = _ERROR.split(text)
    if len(said) > 1:
        return said[-1].strip().splitlines()[0]
    last = text.strip().splitlines()
    return last[-1] if last else f"it ended with exit code {code} and said nothing"

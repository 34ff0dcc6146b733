"""Locks between processes. The operating system frees the lock of a process that dies."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rcframe.errors import RunFailed

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.2
#: Whoever asks whether a lock is held has it for a moment, and the data workers of a killed process for a few seconds,
#: until they notice: neither is a reason to refuse anybody.
_GRACE_SECONDS = 7.0


def _nothing() -> None:
    """Go on waiting."""


@contextmanager
def locked(path: Path, waiting: Callable[[], None], still: Callable[[], None] = _nothing) -> Iterator[None]:
    """Hold the lock `path`.

    If another process has it, `waiting` is called once, and `still` at every look; raising there ends the waiting.
    """
    lock = _lock(path)
    if not _taken(lock):
        waiting()
        while not _taken(lock):
            still()
            time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        _give_back(lock)


class Busy(RunFailed):
    """Another process holds a lock that would be needed."""


@contextmanager
def locked_or_refused(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock `path`, or fail with `refusal` if another process has it."""
    lock = _lock(path)
    if not _taken(lock, _GRACE_SECONDS):
        raise Busy(refusal)
    try:
        yield
    finally:
        _give_back(lock)


def is_locked(path: Path) -> bool:
    """Say whether a process holds the lock `path`; where the system allows, somebody else's file is only read."""
    if sys.platform == "win32":
        return path.exists() and not _can_be_taken(path)
    try:
        with path.open("rb") as file:
            # A share of the lock, so that many may ask at once; it ends with the file being closed.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise RunFailed(f"Cannot see whether `{path}` is locked: {error.strerror}.") from error
    return False


def _can_be_taken(path: Path) -> bool:
    lock = _lock(path)
    taken = _taken(lock)
    if taken:
        lock.release()
    return taken


def _taken(lock: FileLock, patience: float = 0.0) -> bool:
    """Take a lock and say whether that succeeded."""
    try:
        lock.acquire(timeout=patience, poll_interval=_POLL_SECONDS)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunFailed(f"Cannot lock `{lock.lock_file}`: {reason}.") from error
    return True


def _give_back(lock: FileLock) -> None:
    """Free a lock; what goes wrong with that is no failure of the work, and the lock ends with the process."""
    with contextlib.suppress(OSError):
        lock.release()


def _lock(path: Path) -> FileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"Cannot create the folder `{path.parent}`: {error.strerror}.") from error
    return FileLock(path)

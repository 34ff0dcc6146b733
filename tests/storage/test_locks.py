from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rcframe.errors import RunFailed
from rcframe.storage.locks import is_locked, locked, locked_or_refused

HOLD = """
import sys
from pathlib import Path
from rcframe.storage.locks import locked
with locked(Path(sys.argv[1]), lambda: sys.exit("it was taken")):
    print("held", flush=True)
    sys.stdin.read()
"""
REFUSAL = "Somebody is at it."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "work.lock"


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock until its input is closed, or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def never() -> None:
    raise AssertionError("nobody else has it")


def test_a_lock_that_nobody_has_is_taken_at_once_and_freed_afterwards(path: Path) -> None:
    assert not is_locked(path)
    with locked(path, never):
        assert is_locked(path)
    assert not is_locked(path)
    with locked(path, never):
        pass


def test_a_failure_frees_the_lock(path: Path) -> None:
    for take in (locked(path, never), locked_or_refused(path, REFUSAL)):
        with suppress(ZeroDivisionError), take:
            assert is_locked(path)
            raise ZeroDivisionError
        assert not is_locked(path)


def test_whoever_waits_is_told_once_and_gets_the_lock_when_it_is_freed(path: Path) -> None:
    events: list[str] = []

    def still() -> None:
        events.append("still")
        if len(events) == 3:
            process.communicate()

    with holder(path) as process, locked(path, lambda: events.append("waiting"), still):
        assert process.returncode == 0
        assert events[:3] == ["waiting", "still", "still"]
        assert events.count("waiting") == 1


def test_a_process_that_is_killed_frees_its_lock(path: Path) -> None:
    with holder(path) as process, locked(path, process.kill):
        assert is_locked(path)
    assert process.returncode != 0


def test_waiting_can_be_given_up(path: Path) -> None:
    def give_up() -> None:
        raise KeyboardInterrupt

    with holder(path):
        with pytest.raises(KeyboardInterrupt), locked(path, lambda: None, give_up):
            raise AssertionError("taken from another process")
        assert is_locked(path)
    assert not is_locked(path)


def test_whoever_does_not_wait_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcframe.storage.locks._GRACE_SECONDS", 0.1)
    with holder(path), pytest.raises(RunFailed, match=REFUSAL), locked_or_refused(path, REFUSAL):
        raise AssertionError("taken from another process")
    with locked_or_refused(path, REFUSAL):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_that_is_held_for_a_moment_refuses_nobody(path: Path) -> None:
    """Looking takes a lock for a moment, and the helpers of a killed process die a little later than it."""
    taken, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path, never):
            taken.set()
            enough.wait(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    with locked_or_refused(path, REFUSAL):
        assert is_locked(path)
    thread.join()


def test_many_may_look_at_a_lock_at_once(path: Path) -> None:
    with locked(path, never):
        assert is_locked(path)
    with path.open("rb") as looked_at:
        # What another process does that looks just now.
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        assert not is_locked(path)


def test_looking_leaves_nothing_behind(path: Path) -> None:
    assert not is_locked(path)
    assert not path.parent.exists()


def test_places_where_no_lock_can_be_are_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match=r"Cannot create the folder `.*file`: "), locked(tmp_path / "file" / "a", never):
        pass
    path.mkdir(parents=True)
    with pytest.raises(RunFailed, match=f"Cannot see whether `{path}` is locked: "):
        is_locked(path)
    for take in (locked(path, never), locked_or_refused(path, REFUSAL)):
        with pytest.raises(RunFailed, match=rf"Cannot lock `{path}`: Is a directory\."), take:
            pass


def test_many_processes_have_it_one_after_the_other(path: Path, tmp_path: Path) -> None:
    """Each reads a number and writes the next one; without the lock, they would overwrite each other's."""
    count = tmp_path / "count"
    count.write_text("0")
    code = (
        "import sys, time; from pathlib import Path; from rcframe.storage.locks import locked\n"
        "for _ in range(5):\n"
        "    with locked(Path(sys.argv[1]), lambda: None):\n"
        "        number = int(Path(sys.argv[2]).read_text()); time.sleep(0.01)\n"
        "        Path(sys.argv[2]).write_text(str(number + 1))\n"
    )
    command = [sys.executable, "-c", code, str(path), str(count)]
    processes = [subprocess.Popen(command, env=os.environ) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert count.read_text() == "15"

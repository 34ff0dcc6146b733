from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import rcframe
from rcframe.jobs import THREAD_SHARE, Ended, Job, Running, run_job, thread_share, why_failed
from rcframe.testing.acting import KILLED, LASTING, acting

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SAYS = "import os, sys; print(os.getcwd(), *(os.environ.get(name) for name in sys.argv[1:]))"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("begun", "w").close()
while True:
    time.sleep(1)
"""


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(job: Job) -> bool:
    return (job.folder / "begun").exists()


# -- one job ----------------------------------------------------------------------------------------------------------


def test_a_job_is_a_command_of_rcframe_whose_words_are_in_its_log(tmp_path: Path) -> None:
    job = Job("one", ("--version",), tmp_path / "logs" / "one.txt")
    assert run_job(job, threads=1) == Ended(job, 0, "")
    assert job.log.read_text() == f"rcframe {rcframe.__version__}\n"


def test_a_job_that_fails_says_why_in_its_own_words(tmp_path: Path) -> None:
    job = Job("one", ("info", "attack", "no-such-attack"), tmp_path / "one.txt")
    ended = run_job(job, threads=1)
    assert (ended.code, ended.killed) == (2, False)
    assert ended.reason.startswith("No attack named `no-such-attack`.")
    assert "Error" not in ended.reason


def test_a_job_runs_where_it_was_made_or_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    elsewhere = acting(tmp_path, "elsewhere", SAYS)
    here = Job("here", (), tmp_path / "here.txt", elsewhere.environment)
    monkeypatch.chdir(tmp_path)
    for job, folder in ((here, tmp_path / "here"), (elsewhere, tmp_path / "elsewhere")):
        assert run_job(job, threads=1).code == 0
        assert job.log.read_text().split()[0] == str(folder)


def test_variables_of_the_place_win_over_those_of_the_job_and_those_over_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONE", "TWO", "THREE"):
        monkeypatch.setenv(name, "ours")
    job = acting(tmp_path, "one", SAYS, "ONE", "TWO", "THREE")
    job = attrs.evolve(job, environment={**job.environment, "TWO": "job", "THREE": "job"})
    run_job(job, threads=1, environment={"THREE": "place"})
    assert job.log.read_text().split()[1:] == ["ours", "job", "place"]


def test_a_job_does_not_import_what_happens_to_lie_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "rcframe.py").write_text("print('not me')")
    job = Job("one", ("--version",), tmp_path / "one.txt", folder=tmp_path)
    assert run_job(job, threads=1).code == 0
    assert job.log.read_text() == f"rcframe {rcframe.__version__}\n"


def test_a_job_given_again_writes_its_log_anew(tmp_path: Path) -> None:
    job = acting(tmp_path, "one", SAYS)
    for _ in range(2):
        run_job(job, threads=1)
    assert len(job.log.read_text().splitlines()) == 1


def test_a_job_that_cannot_start_fails_with_the_reason(tmp_path: Path) -> None:
    gone = Job("gone", ("--version",), tmp_path / "gone.txt", folder=tmp_path / "nowhere")
    assert run_job(gone, threads=1) == Ended(
        gone, None, f"it cannot start on this machine: No such file or directory (`{tmp_path / 'nowhere'}`)"
    )
    (tmp_path / "file").touch()
    blocked = Job("blocked", ("--version",), tmp_path / "file" / "log.txt")
    ended = run_job(blocked, threads=1)
    assert ended.code is None
    assert f"(`{tmp_path / 'file'}" in ended.reason


def test_a_killed_job_is_told_from_one_that_fails(tmp_path: Path) -> None:
    killed = run_job(acting(tmp_path, "killed", KILLED, "1"), threads=1)
    assert (killed.code, killed.killed) == (-signal.SIGKILL, True)
    assert killed.reason == "it was killed by signal 9; too little memory is a frequent reason"
    assert not run_job(acting(tmp_path, "failed", "raise SystemExit(3)"), threads=1).killed
    assert not Ended(killed.job, None).killed


@pytest.fixture
def deaf() -> Iterator[None]:
    """Ignore the ends of children, as a process does that was started so."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("deaf")
def test_a_failure_is_no_success_where_the_ends_of_processes_were_ignored(tmp_path: Path) -> None:
    job = acting(tmp_path, "fails", "raise SystemExit(3)")
    thread, ended = in_background(job, Running())
    thread.join()
    assert [(one.code, "SIGCHLD" in one.reason) for one in ended] == [(None, True)]
    assert run_job(job, threads=1).code == 3


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wished", "share", "used", "ours"),
    [(None, 3, "3", True), ("", 3, "3", True), ("1", 3, "1", False), ("8", 3, "3", False), ("2,2", 3, "3", False)],
)
def test_a_job_gets_its_share_of_threads_or_fewer_where_the_user_wants_fewer(
    wished: str | None, share: int, used: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wished is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wished)
    found = thread_share(share)
    assert [found[name] for name in THREADS] == [used] * 3
    assert (THREAD_SHARE in found) == ours


def test_the_share_reaches_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = acting(tmp_path, "one", SAYS, *THREADS, THREAD_SHARE)
    run_job(job, threads=5)
    assert job.log.read_text().split()[1:] == ["5"] * 4


# -- reasons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("Error: harmless talk\n", 0, ""),
        ("epoch 1\nError: The disk is full.\nMore about it.\n", 1, "The disk is full."),
        ("Error: first\nagain\nError: second\n", 1, "second"),
        ("Traceback:\n  line\nValueError: bad\n\n", 1, "ValueError: bad"),
        ("an Error: inside a line\nlast words\n", 1, "last words"),
        ("", 5, "it ended with exit code 5 and said nothing"),
        (" \n\n", 5, "it ended with exit code 5 and said nothing"),
        ("Error: an old one\n", -9, "it was killed by signal 9; too little memory is a frequent reason"),
    ],
)
def test_the_reason_is_the_last_that_a_job_said(text: str, code: int, reason: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(text)
    assert why_failed(tmp_path / "log.txt", code) == reason


def test_without_a_readable_log_there_is_still_a_reason(tmp_path: Path) -> None:
    assert why_failed(tmp_path / "none.txt", 1) == "it ended with exit code 1 and said nothing"
    (tmp_path / "bytes.txt").write_bytes(b"Error: \xff\xfe gone\n")
    assert why_failed(tmp_path / "bytes.txt", 1).endswith(" gone")


# -- stopping ---------------------------------------------------------------------------------------------------------


def in_background(job: Job, running: Running) -> tuple[threading.Thread, list[Ended]]:
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(run_job(job, threads=1, among=running)))
    thread.start()
    return thread, ended


def test_jobs_that_are_ended_may_keep_their_state_first(tmp_path: Path) -> None:
    running = Running()
    jobs = [acting(tmp_path, name, LASTING) for name in ("one", "two")]
    under_way = [in_background(job, running) for job in jobs]
    wait_for(lambda: all(map(begun, jobs)))
    stopped = [running.stopped]
    running.end()
    assert [*stopped, running.stopped] == [False, True]
    for job, (thread, ended) in zip(jobs, under_way, strict=True):
        # Once each: a run that is asked twice ends at once.
        assert (job.folder / "kept").read_text() == "x"
        thread.join()
        assert [one.code for one in ended] == [130]


def test_a_job_that_does_not_end_when_asked_is_killed_after_a_while(tmp_path: Path) -> None:
    running = Running()
    job = acting(tmp_path, "stubborn", STUBBORN)
    thread, ended = in_background(job, running)
    wait_for(lambda: begun(job))
    running.end(grace=0.2)
    thread.join()
    assert [one.code for one in ended] == [-signal.SIGKILL]


def test_stopping_twice_asks_once(tmp_path: Path) -> None:
    running = Running()
    job = acting(
        tmp_path, "counts", LASTING.replace("signal.signal(number, signal.SIG_IGN)", 'open("asked", "a").write("x")')
    )
    thread, _ = in_background(job, running)
    wait_for(lambda: begun(job))
    running.stop()
    wait_for(lambda: (job.folder / "asked").exists())
    running.stop()
    thread.join()
    assert (job.folder / "asked").read_text() == "x"


def test_nothing_starts_once_all_is_stopped(tmp_path: Path) -> None:
    running = Running()
    running.end()
    job = acting(tmp_path, "late", LASTING)
    assert run_job(job, threads=1, among=running) == Ended(job, None, "it was stopped before it started")
    assert not begun(job)


def test_an_interrupt_ends_the_job_that_is_waited_for(tmp_path: Path) -> None:
    job = acting(tmp_path, "one", LASTING)

    def press() -> None:
        wait_for(lambda: begun(job))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run_job(job, threads=1)
    assert (job.folder / "kept").read_text() == "x"


def test_ctrl_c_in_a_terminal_reaches_us_and_not_the_job(tmp_path: Path) -> None:
    job = acting(tmp_path, "one", "import os; print(os.getpgrp())")
    run_job(job, threads=1)
    assert int(job.log.read_text()) != os.getpgrp()

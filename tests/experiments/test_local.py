from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from rcframe.api import Engine
from rcframe.errors import RequestError
from rcframe.experiments import local
from rcframe.experiments.local import LocalEngine, available_processors
from rcframe.jobs import Ended, Job
from rcframe.registry import registry
from rcframe.testing import Check, checks_of
from rcframe.testing.acting import KILLED, LASTING, acting

SAYS = """
import os
print(os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
"""
#: Waits until as many jobs have begun as its first argument says, each of which holds a file.
MEETS = """
import os, sys, time
open(f"../begun/{os.getpid()}", "w").close()
deadline = time.monotonic() + 30
while len(os.listdir("../begun")) < int(sys.argv[1]):
    if time.monotonic() > deadline:
        sys.exit("nobody else came")
    time.sleep(0.01)
print(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
"""
#: Says how many jobs are under way, itself included.
COUNTS = """
import os, time
mine = f"../begun/{os.getpid()}"
open(mine, "w").close()
time.sleep(0.1)
print(len(os.listdir("../begun")))
os.remove(mine)
"""


@pytest.fixture(autouse=True)
def no_wish_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def processors(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "available_processors", lambda: count)


def said(jobs: list[Job]) -> list[str]:
    return [job.log.read_text().strip() for job in jobs]


def carried_out(engine: Engine, jobs: list[Job], tmp_path: Path) -> dict[str, Ended]:
    ended = list(engine.carry_out(jobs, tmp_path))
    assert Counter(one.job.name for one in ended) == Counter(job.name for job in jobs)
    return {one.job.name: one for one in ended}


@pytest.mark.parametrize("check", [check for check in checks_of("rcframe") if check.title == "engine local"], ids=str)
def test_conformance(check: Check) -> None:
    check()


def test_it_is_found_by_name_and_takes_the_number_of_workers() -> None:
    assert registry().make("engine", "local") == LocalEngine()
    assert registry().make("engine", "local:3") == LocalEngine(workers=3)
    assert registry().make("engine", "local:gpus=0+2,retries=0") == LocalEngine(gpus=(0, 2), retries=0)
    for wrong in ("local:-1", "local:gpus=0+-1", "local:retries=-1"):
        with pytest.raises(RequestError, match="must be at least 0"):
            registry().make("engine", wrong)


@pytest.mark.parametrize(
    ("asked", "available", "jobs", "threads"),
    [
        (0, 2, 4, 1),  # a worker for each processor
        (0, 4, 2, 2),  # never more workers than jobs
        (0, 6, 1, 6),
        (0, 20, 9, 2),  # at most 8 by default: 20 // 8
        (3, 8, 5, 2),
        (4, 2, 5, 1),  # more workers than processors
        (1, 4, 3, 4),
    ],
)
def test_the_processors_are_divided_among_the_workers(
    asked: int, available: int, jobs: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors(available, monkeypatch)
    given = [acting(tmp_path, str(number), SAYS) for number in range(jobs)]
    carried_out(LocalEngine(workers=asked), given, tmp_path)
    assert said(given) == [f"{threads} all"] * jobs


def test_as_many_jobs_run_at_once_as_there_are_workers(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    meeting = [acting(tmp_path, f"meets-{number}", MEETS, "3") for number in range(3)]
    assert {ended.code for ended in carried_out(LocalEngine(workers=3), meeting, tmp_path).values()} == {0}


def test_no_more_jobs_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    jobs = [acting(tmp_path, f"counts-{number}", COUNTS) for number in range(6)]
    carried_out(LocalEngine(workers=2), jobs, tmp_path)
    assert max(map(int, said(jobs))) <= 2


def test_workers_take_the_gpus_in_turn(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    first = [acting(tmp_path, f"meets-{number}", MEETS, "3") for number in range(3)]
    later = [acting(tmp_path, f"later-{number}", MEETS, "0") for number in range(5)]
    carried_out(LocalEngine(workers=3, gpus=(4, 7)), [*first, *later], tmp_path)
    assert Counter(said(first)) == {"4": 2, "7": 1}
    # Every worker has given its GPU back after a job.
    assert set(said(later)) <= {"4", "7"}


def test_a_single_worker_uses_one_gpu(tmp_path: Path) -> None:
    jobs = [acting(tmp_path, str(number), SAYS) for number in range(3)]
    carried_out(LocalEngine(workers=1, gpus=(1, 0)), jobs, tmp_path)
    assert [words.split()[1] for words in said(jobs)] == ["1"] * 3


@pytest.mark.parametrize(
    ("kills", "retries", "code", "given"), [(1, 1, 0, 2), (2, 1, -9, 2), (1, 0, -9, 1), (2, 3, 0, 3)]
)
def test_a_killed_job_is_given_again_as_often_as_asked(
    kills: int, retries: int, code: int, given: int, tmp_path: Path
) -> None:
    job = acting(tmp_path, "killed", KILLED, str(kills))
    ended = carried_out(LocalEngine(retries=retries), [job], tmp_path)["killed"]
    assert ended.code == code
    assert bool(ended.reason) == (code != 0)
    assert (job.folder / "given").read_text() == "x" * given


def test_a_job_that_fails_by_itself_is_not_given_again_and_hurts_no_other(tmp_path: Path) -> None:
    fails = acting(tmp_path, "fails", "open('given', 'a').write('x'); print('Error: No luck.'); raise SystemExit(1)")
    gone = Job("gone", ("--version",), tmp_path / "gone.txt", folder=tmp_path / "nowhere")
    ended = carried_out(LocalEngine(workers=1, retries=5), [fails, gone, acting(tmp_path, "after", SAYS)], tmp_path)
    assert (ended["fails"].code, ended["fails"].reason) == (1, "No luck.")
    assert (fails.folder / "given").read_text() == "x"
    assert ended["gone"].code is None
    assert ended["after"].code == 0


def test_a_failure_is_no_success_where_the_ends_of_processes_were_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        ended = carried_out(LocalEngine(), [acting(tmp_path, "fails", "raise SystemExit(3)")], tmp_path)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert ended["fails"].code == 3


def test_jobs_are_told_of_as_they_end(tmp_path: Path) -> None:
    jobs = [acting(tmp_path, "lasts", LASTING), acting(tmp_path, "quick", "")]
    ending = LocalEngine(workers=2).carry_out(jobs, tmp_path)
    assert next(ending).job.name == "quick"
    ending.close()  # type: ignore[attr-defined]  # it is a generator


def test_closing_asks_what_runs_to_stop_and_starts_nothing_more(tmp_path: Path) -> None:
    waits = "import os, time\nwhile not os.path.exists('../lasts/begun'): time.sleep(0.01)"
    jobs = [acting(tmp_path, "lasts", LASTING), acting(tmp_path, "waits", waits)]
    jobs += [acting(tmp_path, f"later-{number}", LASTING) for number in range(5)]
    ending = LocalEngine(workers=2, retries=3).carry_out(jobs, tmp_path)
    assert next(ending).job.name == "waits"
    ending.close()  # type: ignore[attr-defined]  # it is a generator
    assert (tmp_path / "lasts" / "kept").read_text() == "x"
    # The place of the quick job may have been taken by the next at once; that one was asked to stop too.
    begun = [job for job in jobs[2:] if (job.folder / "begun").exists()]
    assert begun in ([], jobs[2:3])
    assert all((job.folder / "kept").exists() for job in begun)


def test_without_jobs_nothing_happens(tmp_path: Path) -> None:
    assert list(LocalEngine().carry_out([], tmp_path)) == []


def test_processors_are_those_that_this_process_may_use() -> None:
    assert 1 <= available_processors() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert available_processors() == 1
        finally:
            os.sched_setaffinity(0, before)

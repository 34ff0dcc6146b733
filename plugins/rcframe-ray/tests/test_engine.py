"""Jobs on a Ray instance of their own: what is lost is given again, and what fails is not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import attrs
import pytest
from rcframe_ray.engine import RayEngine

from rcframe import Ended, Job, RequestError
from rcframe.registry import registry
from rcframe.testing.acting import KILLED, LASTING, acting

#: Kills the process of Ray that carries it out as often as its argument says, and lives on; else ends at once.
KILLS_ITS_WORKER = LASTING.replace(
    'open("begun", "w").close()',
    """
open("given", "a").write("x")
if len(open("given").read()) > int(sys.argv[1]):
    sys.exit(0)
os.kill(os.getppid(), signal.SIGKILL)
""",
).replace("import signal", "import os, signal")
SAYS = "import os, sys; print(*(os.environ.get(name, 'unset') for name in sys.argv[1:]))"

pytestmark = pytest.mark.usefixtures("instance")


def carried_out(engine: RayEngine, jobs: list[Job], place: Path) -> dict[str, Ended]:
    ended = list(engine.carry_out(jobs, place))
    assert sorted(one.job.name for one in ended) == sorted(job.name for job in jobs)
    assert all(one.job in jobs for one in ended)
    return {one.job.name: one for one in ended}


def given(job: Job) -> int:
    return len((job.folder / "given").read_text())


def test_it_is_found_by_name_and_takes_an_address() -> None:
    assert registry().make("engine", "ray") == RayEngine()
    assert registry().make("engine", "ray:head:6379") == RayEngine(address="head:6379")
    assert registry().make("engine", "ray:ray://head:10001,cpus=4,gpus=0.5,retries=0") == RayEngine(
        address="ray://head:10001", cpus=4, gpus=0.5, retries=0
    )


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("ray:cpus=0", "must be at least 1"),
        ("ray:gpus=-1", "must be at least 0"),
        ("ray:gpus=1.5", "cannot give a job 1.5 GPUs: take a part of one, or whole ones"),
    ],
)
def test_what_ray_cannot_give_is_refused(spec: str, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        registry().make("engine", spec)


@pytest.mark.parametrize(
    ("engine", "complaint"),
    [
        (RayEngine(cpus=10_000), r"A job is to have 10000 processors, but Ray finds \d+ on this machine\."),
        (RayEngine(gpus=10_000), r"A job is to have 10000 GPUs, but Ray finds \d+ on this machine\."),
    ],
)
def test_jobs_that_no_machine_has_room_for_are_refused_and_do_not_wait_for_ever(
    engine: RayEngine, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=complaint):
        list(engine.carry_out([acting(tmp_path, "one", "")], tmp_path))


def test_a_worker_that_is_killed_takes_no_job_with_it(tmp_path: Path) -> None:
    killer = acting(tmp_path, "killer", KILLS_ITS_WORKER, "1")
    others = [acting(tmp_path, f"other-{number}", "open('given', 'a').write('x')") for number in range(4)]
    ended = carried_out(RayEngine(), [*others[:2], killer, *others[2:]], tmp_path)
    assert {name: one.code for name, one in ended.items()} == dict.fromkeys(ended, 0)
    assert given(killer) == 2
    # What has ended is not carried out again.
    assert [given(job) for job in others] == [1] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of the death of a parent")
def test_what_a_killed_worker_carried_out_is_asked_to_stop(tmp_path: Path) -> None:
    killer = acting(tmp_path, "killer", KILLS_ITS_WORKER, "1")
    after = acting(tmp_path, "after", "")
    ended = carried_out(RayEngine(retries=0), [killer, after], tmp_path)
    assert (ended["killer"].code, ended["after"].code) == (None, 0)
    assert ended["killer"].reason == (
        "the machine or process that carried it out was lost: The worker died unexpectedly while executing this task"
    )
    deadline = time.monotonic() + 30
    while not (killer.folder / "kept").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("kills", "retries", "code", "times"), [(1, 1, 0, 2), (1, 0, -9, 1), (2, 1, -9, 2)])
def test_a_job_that_the_system_killed_is_given_again_as_often_as_asked(
    kills: int, retries: int, code: int, times: int, tmp_path: Path
) -> None:
    job = acting(tmp_path, "killed", KILLED, str(kills))
    assert carried_out(RayEngine(retries=retries), [job], tmp_path)["killed"].code == code
    assert given(job) == times


def test_a_job_that_fails_by_itself_is_not_given_again(tmp_path: Path) -> None:
    job = acting(tmp_path, "fails", "open('given', 'a').write('x'); print('Error: No luck.'); raise SystemExit(1)")
    ended = carried_out(RayEngine(retries=5), [job], tmp_path)["fails"]
    assert (ended.code, ended.reason, given(job)) == (1, "No luck.", 1)


def test_a_job_that_cannot_start_where_it_was_placed_says_so(tmp_path: Path) -> None:
    gone = Job("gone", ("--version",), tmp_path / "gone.txt", folder=tmp_path / "nowhere")
    ended = carried_out(RayEngine(), [gone], tmp_path)["gone"]
    assert (ended.code, "cannot start on this machine" in ended.reason) == (None, True)


def test_a_job_gets_its_threads_no_gpu_and_the_settings_that_count_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCFRAME_ASKED_HERE", "here")
    monkeypatch.setenv("RCFRAME_ASKED_BOTH", "here")
    names = ("RCFRAME_ASKED_HERE", "RCFRAME_ASKED_BOTH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    job = acting(tmp_path, "asks", SAYS, *names)
    job = attrs.evolve(job, environment={**job.environment, "RCFRAME_ASKED_BOTH": "job"})
    carried_out(RayEngine(cpus=1), [job], tmp_path)
    assert job.log.read_text() == "here job  1\n"


def test_a_connection_that_was_there_is_left_alone(tmp_path: Path) -> None:
    carried_out(RayEngine(), [acting(tmp_path, "one", "")], tmp_path)
    # Not at the top: Ray reads at its import how it is to behave.
    import ray

    assert ray.is_initialized()


def test_closing_asks_what_runs_to_stop(tmp_path: Path) -> None:
    waits = "import os, time\nwhile not os.path.exists('../lasts/begun'): time.sleep(0.01)"
    jobs = [acting(tmp_path, "waits", waits), acting(tmp_path, "lasts", LASTING)]
    if (os.cpu_count() or 1) < 2:
        pytest.skip("two jobs at once need two processors")
    ending = RayEngine().carry_out(jobs, tmp_path)
    assert next(ending).job.name == "waits"
    ending.close()  # type: ignore[attr-defined]  # it is a generator
    assert (tmp_path / "lasts" / "kept").read_text() == "x"


def test_without_ray_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"^Engine `ray` needs Ray, which cannot be imported .*: pip install ray\.$"):
        list(RayEngine().carry_out([acting(tmp_path, "one", "")], tmp_path))

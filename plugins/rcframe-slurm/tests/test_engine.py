"""Jobs on a Slurm of this machine: what ran out of time, made room or was lost goes on, and what fails does not."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import attrs
import pytest
from rcframe_slurm import engine as module
from rcframe_slurm.engine import SlurmEngine
from submitit import SlurmJob

from rcframe import Ended, Job, RequestError, RunFailed
from rcframe.registry import registry
from rcframe.testing.acting import KILLED, LASTING, acting

FAKE = Path(__file__).with_name("fake_slurm.py")


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@attrs.frozen
class FakeSlurm:
    """A Slurm of this machine, seen from behind."""

    home: Path

    def scripts(self) -> list[str]:
        """What was submitted, in order."""
        return [path.read_text() for path in sorted(self.home.glob("*.sh"))]

    def state(self, job: str) -> str:
        return cast(Callable[[str], str], self._function("state_of"))(job)

    def signal(self, job: str, number: int) -> None:
        """Send a signal to all processes of a job."""
        cast(Callable[[str, int], None], self._function("signal_all"))(job, number)

    def becomes(self, job: str, state: str) -> None:
        cast(Callable[[str, str], None], self._function("become"))(job, state)

    def asked(self) -> int:
        """How often Slurm was asked about jobs."""
        asked = self.home / "asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0

    def _function(self, name: str) -> object:
        return runpy.run_path(str(FAKE))[name]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    """Put a Slurm of one machine on the path, and look at it more often than at a real one."""
    home, programs = tmp_path / "fake", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        shutil.copy(FAKE, programs / name)
        text = f"#!{sys.executable}\n" + FAKE.read_text().replace(
            "sys.executable, __file__", f"sys.executable, {str(FAKE)!r}"
        )
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(module._LOOK, "slurm", 0.1)
    monkeypatch.setattr(module, "_CLOSING_LOOK", 0.2)
    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 1)
    fake = FakeSlurm(home)
    yield fake
    for session in home.glob("*.session"):
        # Nothing is left of a test that failed.
        fake.becomes(session.stem, "FAILED")
        fake.signal(session.stem, signal.SIGKILL)


#: Lasts until it is asked to stop; given again, it ends well.
GOES_ON = "import os, sys\nif os.path.exists('kept'): sys.exit(0)\n" + LASTING
#: The same, but keeping its state takes a while.
GOES_ON_SLOWLY = GOES_ON.replace("time.sleep(0.3)", "time.sleep(1.5)")
SAYS = "import os, sys; print(*(os.environ.get(name, 'unset') for name in sys.argv[1:]))"


def carried_out(engine: SlurmEngine, jobs: list[Job], place: Path) -> dict[str, Ended]:
    ended = list(engine.carry_out(jobs, place / "place"))
    assert sorted(one.job.name for one in ended) == sorted(job.name for job in jobs)
    assert all(one.job in jobs for one in ended)
    return {one.job.name: one for one in ended}


def flags(script: str) -> set[str]:
    return {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}


# -- options ----------------------------------------------------------------------------------------------------------


def test_it_is_found_by_name_and_takes_a_partition() -> None:
    assert registry().make("engine", "slurm") == SlurmEngine()
    assert registry().make("engine", "slurm:gpu,minutes=30,parallel=4") == SlurmEngine(
        partition="gpu", minutes=30, parallel=4
    )
    with pytest.raises(RequestError, match="must be at least 1"):
        registry().make("engine", "slurm:minutes=0")


def test_slurm_is_asked_for_what_the_options_say(slurm: FakeSlurm, tmp_path: Path) -> None:
    engine = SlurmEngine(partition="gpu", minutes=30, cpus=4, memory=8, gpus=2, parallel=2)
    carried_out(engine, [acting(tmp_path, name, "") for name in ("one", "two", "three")], tmp_path)
    (script,) = slurm.scripts()
    assert flags(script) >= {
        "partition=gpu",
        "time=30",
        "cpus-per-task=4",
        "mem=8GB",
        "gpus-per-node=2",
        "array=0-2%2",
        "job-name=rcframe",
        "signal=USR2@90",
    }


def test_what_is_not_said_is_left_to_slurm(slurm: FakeSlurm, tmp_path: Path) -> None:
    carried_out(SlurmEngine(), [acting(tmp_path, "one", "")], tmp_path)
    (script,) = slurm.scripts()
    asked = {flag.partition("=")[0] for flag in flags(script)}
    assert not asked & {"partition", "mem", "gpus-per-node", "array"}


def test_a_job_gets_its_threads_and_no_gpu_unless_asked(slurm: FakeSlurm, tmp_path: Path) -> None:
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    without, with_one = (acting(tmp_path, name, SAYS, *names) for name in ("without", "with"))
    carried_out(SlurmEngine(cpus=1), [without], tmp_path)
    carried_out(SlurmEngine(cpus=1, gpus=1), [with_one], tmp_path)
    assert without.log.read_text() == "1 \n"
    assert with_one.log.read_text() == "1 unset\n"


# -- ends -------------------------------------------------------------------------------------------------------------


def test_an_array_is_carried_out_and_slurm_is_seldom_asked(slurm: FakeSlurm, tmp_path: Path) -> None:
    fails = acting(tmp_path, "fails", "open('given', 'a').write('x'); print('Error: No luck.'); raise SystemExit(1)")
    gone = Job("gone", ("--version",), tmp_path / "gone.txt", folder=tmp_path / "nowhere")
    jobs = [acting(tmp_path, "one", "print('hello')"), fails, gone, acting(tmp_path, "two", "")]
    ended = carried_out(SlurmEngine(parallel=2), jobs, tmp_path)
    assert {name: one.code for name, one in ended.items()} == {"one": 0, "fails": 1, "gone": None, "two": 0}
    assert ended["fails"].reason == "No luck."
    assert "cannot start on this machine" in ended["gone"].reason
    assert (fails.folder / "given").read_text() == "x"
    assert slurm.asked() < 10


@pytest.mark.parametrize(("kills", "retries", "code", "times"), [(1, 1, 0, 2), (1, 0, -9, 1)])
def test_a_job_that_the_system_killed_is_given_again_as_often_as_asked(
    kills: int, retries: int, code: int, times: int, slurm: FakeSlurm, tmp_path: Path
) -> None:
    job = acting(tmp_path, "killed", KILLED, str(kills))
    assert carried_out(SlurmEngine(retries=retries), [job], tmp_path)["killed"].code == code
    assert (job.folder / "given").read_text() == "x" * times
    assert len(slurm.scripts()) == times


class Meanwhile(threading.Thread):
    """Does something to a job once it has begun."""

    def __init__(self, slurm: FakeSlurm, job: Job, *signals: signal.Signals, state: str = "") -> None:
        super().__init__()
        self.slurm, self.job, self.signals, self.state = slurm, job, signals, state
        self.start()

    def run(self) -> None:
        wait_for(lambda: (self.job.folder / "begun").exists())
        if self.state:
            self.slurm.becomes("100", self.state)
        for number in self.signals:
            self.slurm.signal("100", number)


def test_a_job_whose_time_is_nearly_up_keeps_its_state_and_goes_on(slurm: FakeSlurm, tmp_path: Path) -> None:
    job = acting(tmp_path, "long", GOES_ON_SLOWLY)
    Meanwhile(slurm, job, signal.SIGUSR2)
    ended = carried_out(SlurmEngine(minutes=1, retries=1), [job], tmp_path)["long"]
    assert (ended.code, ended.reason) == (0, "")
    assert (job.folder / "kept").read_text() == "x"
    # Slurm has started the same job again; no other was submitted.
    assert len(slurm.scripts()) == 1


def test_a_job_that_ran_out_of_time_too_often_fails_with_that_reason(slurm: FakeSlurm, tmp_path: Path) -> None:
    job = acting(tmp_path, "long", GOES_ON)
    Meanwhile(slurm, job, signal.SIGUSR2)
    ended = carried_out(SlurmEngine(minutes=1, retries=0), [job], tmp_path)["long"]
    assert (ended.code, ended.reason) == (
        None,
        "it ran out of time too often; its state is kept, and given again it goes on",
    )
    assert (job.folder / "kept").read_text() == "x"


def test_a_job_that_makes_room_for_others_goes_on(slurm: FakeSlurm, tmp_path: Path) -> None:
    job = acting(tmp_path, "poor", GOES_ON)
    Meanwhile(slurm, job, signal.SIGTERM, state="PREEMPTED")
    assert carried_out(SlurmEngine(), [job], tmp_path)["poor"].code == 0
    assert (job.folder / "kept").read_text() == "x"


def test_a_job_whose_machine_is_lost_is_given_again(slurm: FakeSlurm, tmp_path: Path) -> None:
    job = acting(tmp_path, "unlucky", "import os\nif os.path.exists('beats'): raise SystemExit(0)\n" + LASTING)
    Meanwhile(slurm, job, signal.SIGKILL, state="NODE_FAIL")
    assert carried_out(SlurmEngine(), [job], tmp_path)["unlucky"].code == 0
    assert len(slurm.scripts()) == 2


def test_a_job_that_somebody_cancels_is_not_given_again(slurm: FakeSlurm, tmp_path: Path) -> None:
    job = acting(tmp_path, "unwanted", GOES_ON)
    Meanwhile(slurm, job, signal.SIGTERM, state="CANCELLED by 1000")
    assert carried_out(SlurmEngine(), [job], tmp_path)["unwanted"].code == 130
    assert len(slurm.scripts()) == 1


def test_closing_cancels_what_runs_and_what_waits(slurm: FakeSlurm, tmp_path: Path) -> None:
    waits = "import os, time\nwhile not os.path.exists('../lasts-0/begun'): time.sleep(0.01)"
    jobs = [acting(tmp_path, "waits", waits), *(acting(tmp_path, f"lasts-{number}", LASTING) for number in range(4))]
    ending = SlurmEngine(parallel=2).carry_out(jobs, tmp_path / "place")
    assert next(ending).job.name == "waits"
    ending.close()  # type: ignore[attr-defined]  # it is a generator
    assert (tmp_path / "lasts-0" / "kept").read_text() == "x"
    assert not (tmp_path / "lasts-3" / "begun").exists()
    assert {slurm.state(f"100_{number}") for number in (1, 3, 4)} == {"CANCELLED by 1000"}


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_where_there_is_no_slurm_it_is_said_how_to_try_things_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match=r"needs `sbatch` and `srun`, which are not .* `slurm:cluster=local`\.$"):
        list(SlurmEngine().carry_out([acting(tmp_path, "one", "")], tmp_path / "place"))
    assert not (tmp_path / "place").exists()


def test_what_slurm_says_to_a_job_it_refuses_is_passed_on(slurm: FakeSlurm, tmp_path: Path) -> None:
    (slurm.home / "refuses").touch()
    with pytest.raises(RunFailed, match=r"^Slurm did not take the jobs: .*invalid partition specified: nowhere"):
        list(SlurmEngine(partition="nowhere").carry_out([acting(tmp_path, "one", "")], tmp_path / "place"))


def test_without_submitit_there_is_a_sentence(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RequestError, match=r"^Engine `slurm` needs submitit, .*: pip install submitit\.$"):
        list(SlurmEngine().carry_out([acting(tmp_path, "one", "")], tmp_path / "place"))


def test_nobody_else_can_put_jobs_into_the_folder_they_are_read_from(tmp_path: Path) -> None:
    carried_out(SlurmEngine(cluster="local"), [acting(tmp_path, "one", "")], tmp_path)
    assert stat.S_IMODE((tmp_path / "place" / "slurm").stat().st_mode) == 0o700


def test_nothing_is_printed(slurm: FakeSlurm, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    carried_out(SlurmEngine(), [acting(tmp_path, name, "print('hello')") for name in ("one", "two")], tmp_path)
    assert capfd.readouterr() == ("", "")

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rcframe.jobs import Job, run_job
from rcframe.testing.acting import LASTING, acting

ATTENDED = Path(__file__).parents[1] / "rcframe" / "attended.py"
#: Carries out a job and is killed meanwhile.
CARRIES_OUT = """
import sys
from pathlib import Path
from rcframe.jobs import run_job
from rcframe.testing.acting import LASTING, acting
run_job(acting(Path(sys.argv[1]), "lasts", LASTING), threads=1)
"""


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of the death of a parent")
def test_a_job_is_asked_to_stop_when_whoever_carries_it_out_is_killed(tmp_path: Path) -> None:
    lasts = tmp_path / "lasts"
    engine = subprocess.Popen([sys.executable, "-c", CARRIES_OUT, str(tmp_path)])
    wait_for(lambda: (lasts / "begun").exists())
    engine.kill()
    assert engine.wait() == -signal.SIGKILL
    wait_for(lambda: (lasts / "kept").exists())
    assert (lasts / "kept").read_text() == "x"


def test_a_job_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    job = acting(tmp_path, "late", LASTING)
    done = subprocess.run(
        [sys.executable, "-P", str(ATTENDED), str(os.getppid())],
        cwd=job.folder,
        env={**os.environ, **job.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "Error: The process that started this job is gone.\n")
    assert not (job.folder / "begun").exists()


def test_the_command_sees_its_own_arguments_only(tmp_path: Path) -> None:
    script = "import sys; print(__name__, sys.argv[0] == __file__, sys.argv[1:])"
    job = acting(tmp_path, "one", script, "run", "--out", "a b")
    assert run_job(job, threads=1).code == 0
    assert job.log.read_text() == "__main__ True ['run', '--out', 'a b']\n"


def test_what_lies_beside_it_cannot_be_taken_for_something_else(tmp_path: Path) -> None:
    job = acting(tmp_path, "one", "import sys; print(*sys.path, sep='\\n')")
    assert run_job(job, threads=1).code == 0
    assert not {str(ATTENDED.parent), str(job.folder), ""} & set(job.log.read_text().split("\n")[:-1])


def test_a_run_records_the_command_that_repeats_it(tmp_path: Path) -> None:
    asked = ("run", "--no-such-option")
    job = Job("one", asked, tmp_path / "one.txt", folder=tmp_path)
    assert run_job(job, threads=1).code == 2
    assert "--no-such-option" in job.log.read_text()
    assert "attended" not in job.log.read_text()

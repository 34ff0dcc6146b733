from __future__ import annotations

import sys
from pathlib import Path

from rcframe.jobs import run_job
from rcframe.testing.acting import KILLED, acting


def test_a_script_acts_in_the_place_of_rcframe_in_a_folder_of_its_own(tmp_path: Path) -> None:
    script = "import os, sys; print(sys.argv[1:], os.getcwd()); sys.exit(4)"
    one, two = (acting(tmp_path, name, script, "run", name) for name in ("one", "two"))
    for job in (one, two):
        assert run_job(job, threads=1).code == 4
        assert job.log.read_text() == f"{['run', job.name]} {tmp_path / job.name}\n"
    assert list(one.folder.iterdir()) == []


def test_the_rest_of_python_is_there(tmp_path: Path) -> None:
    job = acting(tmp_path, "one", "import attrs, sys; print(sys.prefix)")
    assert run_job(job, threads=1).code == 0
    assert job.log.read_text().strip() == sys.prefix


def test_a_job_that_is_killed_ends_well_when_it_was_given_often_enough(tmp_path: Path) -> None:
    job = acting(tmp_path, "killed", KILLED, "2")
    assert [run_job(job, threads=1).code for _ in range(4)] == [-9, -9, 0, 0]

"""Descriptors that are closed, and output that nobody reads: no traceback, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from tests.survival.conftest import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")


def test_closed_files_of_a_run_end_it(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE="step:close=metrics.jsonl,log.txt"), run)
    assert sentence == f"Error: Cannot write `{run}/metrics.jsonl`: Bad file descriptor."
    bench.goes_on(run)


@pytest.mark.parametrize("file", ["log.txt", ".lock"])
def test_a_closed_log_or_lock_is_no_reason_to_stop(bench: Bench, tmp_path: Path, file: str) -> None:
    run = tmp_path / "run"
    ended = bench.begin(run, TROUBLE=f"step:close={file}")
    assert ended.code == 0, ended
    bench.undisturbed(run)


def deafen(number: int) -> None:
    """Make a standard stream a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.dup2(writing, number)
    os.close(reading)


@pytest.mark.parametrize(("number", "code"), [(1, 1), (2, 0)])
def test_a_run_ends_well_although_nobody_reads_what_it_prints(
    bench: Bench, tmp_path: Path, number: int, code: int
) -> None:
    run = tmp_path / "run"
    ended = bench.begin(run, before=lambda: deafen(number))
    assert ended.code == code
    assert "Traceback" not in ended.err
    bench.undisturbed(run)


def close(*names: str) -> None:
    """Leave a process without standard streams, as `2>&-` in a shell does."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if name in names:
            os.close(number)
            setattr(sys, name, None)


def test_without_standard_streams_files_of_a_run_do_not_take_their_place(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = bench.begin(run, before=lambda: close("stdin", "stdout", "stderr"), TROUBLE="craft:say=lost")
    assert ended == attrs.evolve(ended, code=0, out="", err="")
    assert "lost" not in "".join(path.read_text() for path in run.glob("*.[tj]*"))
    bench.undisturbed(run)


def test_without_a_place_for_progress_it_is_not_mixed_into_the_result(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = bench.begin(run, "--format=json", before=lambda: close("stderr"))
    assert ended.code == 0
    assert ended.out == (run / "report.json").read_text()


def test_help_that_is_cut_off_by_its_reader_is_no_error_to_speak_of() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rcframe", "run", "--help"]
    ended = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")

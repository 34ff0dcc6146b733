"""Runs that are asked to stop, or lose a worker, or meet each other: no batch is lost and none is done twice."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.survival.conftest import Bench, Gate, Running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")

#: Only what a stage leaves at its end is kept, and what is written when a run is asked to stop.
SELDOM = "--checkpoint=1000"
STOPPING = "Stopping after this batch; once more to stop at once."


def assert_every_step_was_taken_once(diary: Path) -> None:
    stages = [("student/train", epoch) for epoch in (0, 1)] + [("student/more", 0)]
    steps = [f"{stage} {epoch} {batch}" for stage, epoch in stages for batch in range(6)]
    assert diary.read_text().splitlines() == steps


# -- one signal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("place", "work"),
    [
        ("run_started", "teacher/train"),
        ("step", "student/train"),
        ("plan", "student/more"),
        ("craft", "teacher: troubled"),
        ("margins", "teacher: certified by troubled"),
    ],
)
def test_a_run_that_is_asked_to_stop_loses_no_batch(
    bench: Bench, tmp_path: Path, place: str, work: str, asked: str
) -> None:
    run, diary = tmp_path / "run", tmp_path / "diary"
    ended = bench.begin(run, SELDOM, TROUBLE=f"{place}:{asked}", DIARY=str(diary))
    assert bench.stopped(ended, run, 130) == f"Error: Stopped in `{work}`."
    assert ended.err.splitlines().count(STOPPING) == 1
    again = bench.goes_on(run, DIARY=str(diary))
    assert f"{work}: goes on where it was stopped" in again.err.splitlines()
    assert_every_step_was_taken_once(diary)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_advice_how_to_go_on_can_be_pasted(bench: Bench, tmp_path: Path, seeds: int) -> None:
    run = tmp_path / "my run's folder"
    ended = bench.begin(run, f"--seeds={seeds}", TROUBLE="step:SIGINT")
    advice = ended.err.splitlines()[-1].partition("Go on with: ")[2]
    assert shlex.split(advice) == ["rcframe", "run", "--resume", str(run)]


def test_several_seeds_are_asked_to_stop_and_go_on(bench: Bench, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert bench.begin(whole, "--seeds=2").code == 0
    bench.stopped(bench.begin(run, "--seeds=2", TROUBLE="craft:SIGINT"), run, 130)
    ended = bench.resume(run)
    assert ended.code == 0, ended
    for seed in ("seed-0", "seed-1"):
        bench.undisturbed(run / seed, whole / seed)


def test_ctrl_c_reaches_data_workers_too_and_they_finish_the_batch(bench: Bench, tmp_path: Path, gate: Gate) -> None:
    run, diary = tmp_path / "run", tmp_path / "diary"
    trouble = f"step:wait={gate.path}"
    running = bench.starting(run, SELDOM, "--workers=2", before=os.setsid, TROUBLE=trouble, DIARY=str(diary))
    gate.reached()
    os.killpg(running.number, signal.SIGINT)
    gate.open()
    ended = running.end()
    assert bench.stopped(ended, run, 130) == "Error: Stopped in `student/train`."
    # The workers have nothing to say.
    assert ended.err.splitlines().count(STOPPING) == 1
    bench.goes_on(run, DIARY=str(diary))
    assert_every_step_was_taken_once(diary)


def test_ctrl_c_that_also_ends_who_reads_the_output_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    run, diary = tmp_path / "run", tmp_path / "diary"
    ended = bench.begin(run, SELDOM, before=deafen, TROUBLE="step:SIGINT", DIARY=str(diary))
    assert (ended.code, ended.out, ended.err) == (130, "", "")
    bench.goes_on(run, DIARY=str(diary))
    assert_every_step_was_taken_once(diary)


def deafen() -> None:
    """Make both output streams pipes that nobody reads, as when `| tee log` has ended."""
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.close(reading)


# -- an impatient user ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["step", "craft"])
def test_the_second_ctrl_c_stops_at_once(bench: Bench, tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    ended = bench.begin(run, TROUBLE=f"{place}:SIGINT=2")
    assert bench.stopped(ended, run, 130) == "Error: Interrupted."
    assert ended.err.splitlines().count(STOPPING) == 1
    bench.goes_on(run)


@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM"])
def test_what_has_not_begun_stops_at_once_and_leaves_nothing(bench: Bench, tmp_path: Path, asked: str) -> None:
    ended = bench.begin(tmp_path / "run", "--data=troubled", TROUBLE=f"load:{asked}")
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "Error: Interrupted.")
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_that_is_still_loading_stops_at_once(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, "--data=troubled", TROUBLE="step:SIGINT"), run, 130)
    ended = bench.resume(run, TROUBLE="load:SIGINT")
    assert (ended.code, ended.err.strip()) == (130, "Error: Interrupted.")
    assert bench.resume(run).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 1.0, 1.5])
def test_ctrl_c_while_libraries_are_imported_or_a_run_begins(tmp_path: Path, seconds: float) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "rcframe", "run", "--data=glyphs:size=12", "--model=mlp", "--no-cache"]
    process = subprocess.Popen([*command, f"--out={run}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "torch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    # Python itself ends by the signal, for which a shell reports 130, if it hit a library in some delicate moment.
    assert process.returncode in (130, -signal.SIGINT), err
    assert out == ""
    assert err.endswith(("Error: Interrupted.\n", f"rcframe run --resume {run}\n"))
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["run"])
    assert not run.exists() or (run / "run.toml").exists()


# -- workers and other processes -----------------------------------------------------------------------------------


def test_data_workers_that_are_killed_end_the_run(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, "--workers=2", TROUBLE="first step:kill-workers"), run)
    assert sentence.startswith("Error: A data worker died (killed by signal 9; often memory).")
    assert "Lower --workers" in sentence
    bench.goes_on(run)


@pytest.mark.slow
def test_only_one_process_works_on_a_run(bench: Bench, tmp_path: Path, gate: Gate) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="step:raise"), run)
    first = bench.resuming(run, TROUBLE=f"step:wait={gate.path}")
    gate.reached()
    second = bench.resume(run)
    assert (second.code, second.out) == (1, "")
    assert second.err == f"Error: Another process is working on the run in `{run}`.\n"
    other = bench.begin(run)
    assert (other.code, f"The output folder `{run}` exists already." in other.err) == (2, True)
    gate.open()
    assert first.end().code == 0
    bench.undisturbed(run)


def test_waiting_for_the_work_of_another_run_can_be_stopped(bench: Bench, tmp_path: Path, gate: Gate) -> None:
    cache, run = str(tmp_path / "cache"), tmp_path / "second"
    first = bench.starting(tmp_path / "first", TROUBLE=f"step:wait={gate.path}", RCFRAME_CACHE=cache)
    gate.reached()
    second = bench.starting(run, RCFRAME_CACHE=cache)
    wait_for(second, run, "student/train: another process is at it")
    os.kill(second.number, signal.SIGINT)
    assert bench.stopped(second.end(), run, 130) == "Error: Stopped while waiting for `student/train`."
    gate.open()
    assert first.end().code == 0
    bench.undisturbed(tmp_path / "first")
    bench.goes_on(run)


def wait_for(running: Running, run: Path, words: str) -> None:
    """Wait until a run has logged something."""
    deadline, log = time.monotonic() + 60, run / "log.txt"
    while not (log.exists() and words in log.read_text()):
        assert time.monotonic() < deadline, f"{running.number} never said `{words}`"
        time.sleep(0.01)

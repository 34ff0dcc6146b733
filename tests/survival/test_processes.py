"""Two processes that share every batch of a run find what one process finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rcframe.session.evidence import read_evidence
from rcframe.session.report import report_of

# Batches of 16, the last one of 5, which two processes share as 3 and 2; three batches of test images, the last short.
RUN = [
    "--data=glyphs:classes=4,size=16,train=165,test=600,augment=flip+crop",
    "--model=convnet:channels=4+4,hidden=8",
    "--teacher=plain:epochs=3,batch_size=16,schedule=cosine",
    "--student=kd:epochs=3,batch_size=16",
    "--pruner=filters:ratio=0.5,finetune=2",
    "--attack=pgd:steps=3",
    "--certifier=convex",
    "--radii=70",
    "--eps=0.05",
    "--checkpoint=0",
    "--no-cache",
]
# Nothing changes the images, so the teacher is asked once for each of 207, and for 33 more that judge the epochs.
ASKED = 207 + 33
ONCE = [
    "--data=glyphs:classes=4,size=16,train=165,test=60,extra=75,validation=0.2",
    "--model=convnet:channels=4+4,hidden=8",
    "--teacher=plain:epochs=4,batch_size=16,patience=3",
    "--student=kd:epochs=6,batch_size=16,images=both,patience=2",
    # Of both odd numbers the first process would ask for one more than the second; the budget is the exact sum.
    f"--budget={ASKED}",
    "--checkpoint=0",
    "--no-cache",
]
ALONE = [sys.executable, "-m", "rcframe", "run"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "rcframe", "run"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="starts process groups")]


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def ended(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=200)
    return printed


def carried_out(command: list[str]) -> str:
    process = start(command)
    printed = ended(process)
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    printed = carried_out([*TWO, *RUN, f"--out={folder}"])
    assert printed.count("Written to") == 1
    assert printed.count("teacher/train: 3 epochs") == 1
    return folder


def report(folder: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in read.items() if name not in ("seconds", "command")}


ROUNDED = ("radii", "calibration", "softness", "divergence")


def without_calls(found: object) -> object:
    """A report without the number of calls: two processes ask in smaller portions, but about the same images.

    And without what rounding changes: radii, and figures that are no counts.
    """
    if isinstance(found, dict):
        return {name: without_calls(value) for name, value in found.items() if name not in ("calls", *ROUNDED)}
    return [without_calls(value) for value in found] if isinstance(found, list) else found


def test_two_processes_count_what_one_counts(two: Path, tmp_path: Path) -> None:
    carried_out([*ALONE, *RUN, f"--out={tmp_path / 'one'}"])
    by_two, by_one = (report_of(json.loads((folder / "report.json").read_text())) for folder in (two, tmp_path / "one"))
    assert without_calls(report(two)) == without_calls(report(tmp_path / "one"))
    for ours, theirs in ((by_two.teacher, by_one.teacher), (by_two.student, by_one.student)):
        assert ours.outputs.softness
        assert theirs.outputs.softness
        assert ours.outputs.softness.entropy.value == pytest.approx(theirs.outputs.softness.entropy.value, abs=1e-3)
    alone_shows, together_shows = (read_evidence(folder / "evidence.safetensors") for folder in (tmp_path / "one", two))
    assert alone_shows.images == together_shows.images
    for about, pictures in alone_shows.adversarial.items():
        assert pictures.any()
        # A sign that rounding decided moves a pixel, but few are that close.
        assert (pictures != together_shows.adversarial[about]).mean() < 0.05
    for about, radii in alone_shows.radii.items():
        assert radii.any()
        assert abs(radii - together_shows.radii[about]).max() < 1e-3
    for name in ("teacher.safetensors", "student.safetensors"):
        alone, together = load_file(tmp_path / "one" / name), load_file(two / name)
        for key, tensor in alone.items():
            # Gradients are added up in another order, which only rounding tells apart.
            assert (tensor - together[key]).abs().max() < 1e-4, (name, key)


def test_a_run_of_two_processes_goes_on_after_kills(two: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    kill_when(start([*TWO, *RUN, f"--out={folder}"]), folder, "teacher-train")
    resume = [*TWO, "--resume", str(folder), "--no-cache"]
    kill_when(start(resume), folder, "student-train")
    kill_when(start(resume), folder, "teacher-pgd")
    carried_out(resume)
    assert report(folder) == report(two)
    for name in ("teacher.safetensors", "student.safetensors", "evidence.safetensors"):
        assert (folder / name).read_bytes() == (two / name).read_bytes()


def kill_when(process: subprocess.Popen[str], folder: Path, work: str) -> None:
    """Kill a launcher and all it started, a moment after `work` has begun."""
    deadline = time.monotonic() + 150
    while not list((folder / "progress").glob(f"{work}*")):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline, f"`{work}` never began"
        time.sleep(0.01)
    time.sleep(0.05)
    # A launcher that is dead has no children any more, and those that it had would finish the run.
    started = children(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    for child in started:
        os.kill(child, signal.SIGKILL)
    ended(process)


def children(launcher: int) -> list[int]:
    """List what a launcher started: it puts its processes into sessions of their own."""
    tasks = Path(f"/proc/{launcher}/task")
    return [int(child) for file in tasks.glob("*/children") for child in file.read_text().split()]


def test_a_run_begun_by_one_process_is_not_continued_by_two(tmp_path: Path) -> None:
    folder = tmp_path / "begun"
    process = start([*ALONE, *RUN, f"--out={folder}"])
    kill_when(process, folder, "teacher-train")
    again = start([*TWO, "--resume", str(folder), "--no-cache"])
    printed = ended(again)
    assert again.returncode != 0
    assert "processes (was 1, is 2)" in printed


def queries(folder: Path) -> object:
    read: dict[str, dict[str, object]] = json.loads((folder / "report.json").read_text())
    return read["queries"]["images"]


def epochs(folder: Path) -> list[tuple[str, float]]:
    """The judged epochs of the student, each with how often it agreed with its teacher."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["stage"], line["agreement"]) for line in lines if "agreement" in line]


def test_two_processes_ask_a_teacher_once_and_end_as_early_as_one_also_after_a_kill(tmp_path: Path) -> None:
    alone, together, killed = (tmp_path / name for name in ("alone", "together", "killed"))
    carried_out([*ALONE, *ONCE, f"--out={alone}"])
    carried_out([*TWO, *ONCE, f"--out={together}"])
    kill_when(start([*TWO, *ONCE, f"--out={killed}"]), killed, "student-train")
    carried_out([*TWO, "--resume", str(killed), "--no-cache"])
    assert queries(alone) == queries(together) == queries(killed) == ASKED
    assert epochs(killed) == epochs(together) == epochs(alone)
    assert len(epochs(alone)) < 6
    assert (killed / "student.safetensors").read_bytes() == (together / "student.safetensors").read_bytes()

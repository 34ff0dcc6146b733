"""A run from the command line, as the README shows it, leaves the same numbers for TensorBoard as in its own files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rcframe.testing.readme import commands, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUICK = ["--data", "glyphs:size=8,classes=3,train=24,test=12", "--model", "mlp:hidden=4", "--device", "cpu"]


def test_curves_and_figures_are_those_of_the_runs_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = ["--teacher", "plain:epochs=3", "--student", "kd:epochs=2", "--attack", "pgd"]
    run_command(["run", *QUICK, *asked], folder)
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    epochs = lines_of(folder)
    assert {line["stage"] for line in epochs} == {"teacher/train", "student/train"}
    for line in epochs:
        points = {point.step: point.value for point in found.Scalars(f"{line['stage']}/loss")}
        assert points[line["epoch"]] == pytest.approx(line["loss"], rel=1e-6)
    report = json.loads((folder / "report.json").read_text())
    for role in ("teacher", "student"):
        (clean,) = found.Scalars(f"final/{role}/clean")
        assert clean.value == pytest.approx(report[role]["clean"]["accuracy"])
        (attacked,) = found.Scalars(f"final/{role}/attacked/pgd")
        assert attacked.value == pytest.approx(report[role]["attacked"]["pgd"]["accuracy"])


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_has_each_point_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = ["--teacher", "plain:epochs=40", "--student", "kd:epochs=400", "--checkpoint", "0.05", "--quiet"]
    running = subprocess.Popen(
        [sys.executable, "-m", "rcframe", "run", *QUICK, *asked, "--no-cache", "--out", str(folder)]
    )
    while running.poll() is None and len(lines_of(folder)) < 60:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    done = subprocess.run([sys.executable, "-m", "rcframe", "run", "--resume", str(folder), "--quiet"], check=False)
    assert done.returncode == 0
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    for stage, epochs in (("teacher/train", 40), ("student/train", 400)):
        points = [(point.step, pytest.approx(point.value)) for point in found.Scalars(f"{stage}/loss")]
        lines = [(line["epoch"], line["loss"]) for line in lines_of(folder) if line["stage"] == stage]
        assert len(lines) == epochs
        assert points == lines


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of `metrics.jsonl`, as far as it is written."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def test_the_readme_names_what_is_there(tmp_path: Path) -> None:
    (arguments,) = commands(README)
    folder = tmp_path / "run"
    run_command([*arguments, *QUICK], folder)
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    named = ["student/train/loss", "final/student/clean", "final/student/attacked/pgd", "final/teacher/parameters"]
    for tag in named:
        assert f"`{tag}`" in README
        assert tag in found.Tags()["scalars"]

"""`rcframe run --continue`, by which jobs are given again until they are done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command

TINY = (
    *("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4", "--device", "cpu"),
    *("--teacher", "plain:epochs=1", "--student", "kd:epochs=1"),
)


def test_it_starts_a_run_and_given_again_reads_it(cli: Command) -> None:
    first = cli("run", *TINY, "--out", "here", "--continue", "--format", "json")
    assert first.code == 0
    again = cli("run", *TINY, "--out", "here", "--continue", "--format", "json")
    assert (again.code, again.err) == (0, "")
    assert again.out == first.out == Path("here/report.json").read_text()


def test_it_goes_on_with_what_has_begun_as_resuming_does(cli: Command) -> None:
    assert cli("run", *TINY, "--out", "whole", "--no-cache").code == 0
    assert cli("run", *TINY, "--out", "begun", "--no-cache").code == 0
    for path in Path("begun").iterdir():
        if path.is_file() and path.name != "run.toml":
            path.unlink()
    outcome = cli("run", "begun/run.toml", "--out", "begun", "--continue", "--no-cache", "-q")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    reports = [json.loads(Path(folder, "report.json").read_text()) for folder in ("whole", "begun")]
    assert reports[0]["student"] == reports[1]["student"]


def test_the_folder_of_another_run_is_refused_with_what_differs(cli: Command) -> None:
    assert cli("run", *TINY, "--out", "here").code == 0
    outcome = cli("run", *TINY, "--seed", "3", "--eval-size", "4", "--out", "here", "--continue")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: `here` holds another run than this one: they differ in seed, eval_size. Choose another folder with "
        "--out.\n"
    )


def test_it_needs_a_folder(cli: Command) -> None:
    outcome = cli("run", *TINY, "--continue")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--continue needs --out, the folder of the run." in outcome.err
    assert not Path("runs").exists()


def test_it_cannot_be_said_beside_resume(cli: Command) -> None:
    assert cli("run", *TINY, "--out", "here").code == 0
    outcome = cli("run", "--resume", "here", "--out", "here", "--continue")
    assert outcome.code == 2
    assert outcome.err.endswith(": leave out --out, --continue.\n")


def test_a_file_that_a_run_wrote_is_run_under_the_names_that_were_typed(cli: Command) -> None:
    typed = ("--attack", "rcframe-attacks/pgd:steps=(2)", "--certifier", "rcframe-convex/convex")
    assert cli("run", *TINY, *typed, "--out", "first").code == 0
    assert cli("run", "first/run.toml", "--out", "second").code == 0
    first, second = (json.loads(Path(folder, "report.json").read_text()) for folder in ("first", "second"))
    assert list(second["student"]["attacked"]) == ["rcframe-attacks/pgd:steps=(2)"]
    assert list(second["student"]["certified"]) == ["rcframe-convex/convex"]
    assert second["student"] == first["student"]
    assert cli("run", "first/run.toml", "--attack", "fgsm", "--out", "third").code == 0
    third = json.loads(Path("third/report.json").read_text())
    assert list(third["student"]["attacked"]) == ["fgsm"]


@pytest.mark.slow
def test_two_processes_with_one_run_end_with_one_result(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "rcframe", "run", *TINY, "--out", "here", "--continue", "--format", "json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert said[0][0].decode() == (tmp_path / "here" / "report.json").read_text()

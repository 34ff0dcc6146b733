from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Install

TEXT = """
title = "Two students"
[run]
data = "glyphs:size=8,classes=3,train=24,test=12"
model = "mlp:hidden=4"
device = "cpu"
"teacher.epochs" = 1
"student.epochs" = 1
[vary]
student = ["kd", "plain"]
"""


@pytest.fixture
def here(install: Install) -> None:
    """Make an engine known that carries jobs out in this process."""
    engine = {"kind": "engine", "name": "here", "target": "tests.experiments.engines:Here", "summary": "Here."}
    install("acme-engine", [engine])


def written(text: str = TEXT) -> str:
    Path("two students.toml").write_text(text)
    return "two students.toml"


def rows(folder: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((Path(folder) / "matrix.json").read_text())["rows"]
    return found


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_the_help_says_what_stands_in_the_file_and_what_every_option_does(cli: Command) -> None:
    outcome = cli("matrix", "--help")
    assert outcome.code == 0
    for words in (
        "[run]",
        "[vary]",
        "[[exclude]]",
        "[[row]]",
        "--engine",
        "--seeds",
        "--dry-run",
        "--yes",
        "--no-cache",
    ):
        assert words in outcome.out
    assert "Carry out many runs: every combination of what FILE varies." in outcome.out
    assert "matrix" in cli("--help").out


def test_the_plan_can_be_seen_without_anything_being_written(cli: Command, own_cache: Path) -> None:
    file = written()
    outcome = cli("matrix", file, "--dry-run", "--seeds", "3")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Two students" in outcome.out
    assert "│ 1 │ kd    │ 0, 1, 2 │" in outcome.out
    assert "6 runs.\nWhat runs share is computed once: 3 teachers instead of 6, 6 students, 9 measure" in outcome.out
    assert [path.name for path in Path().iterdir()] == [file]
    assert list(own_cache.iterdir()) == []


def test_help_and_plan_of_nothing_need_no_torch(shell: Command) -> None:
    assert shell("matrix", "--help").err.splitlines()[-1] == "without torch"
    assert shell("reproduce", "--help").err.splitlines()[-1] == "without torch"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Error: `two students.toml` has no runs: say what to combine in [vary]"),
        ("vary = ", "Error: `two students.toml` is not valid TOML"),
        (
            "vary.studnet = [1]",
            "Error: In the run `studnet 1`: A run has no setting `studnet`. Did you mean `student`?",
        ),
        ('vary."student.epoch" = [1]', "has the option `epoch`. Did you mean `epochs`?"),
        ('vary.student = ["kd"]\nexclude = { student = "kd" }', "is empty: [[exclude]] leaves out every combination."),
        ("vary.seed = [1]\nseeds = 0", "`seeds` in `two students.toml` is 0, but"),
    ],
)
def test_what_is_no_matrix_is_refused_before_anything_is_written(text: str, words: str, cli: Command) -> None:
    file = written(text)
    for more in ((), ("--dry-run",)):
        outcome = cli("matrix", file, *more)
        assert (outcome.code, outcome.out) == (2, "")
        assert words in outcome.err
        assert "Traceback" not in outcome.err
    assert [path.name for path in Path().iterdir()] == [file]


def test_files_and_options_that_cannot_be_are_refused(cli: Command) -> None:
    outcome = cli("matrix", "gone.toml")
    assert (outcome.code, outcome.err) == (
        2,
        "Error: Cannot read the matrix `gone.toml`: No such file or directory.\n",
    )
    file = written()
    assert cli("matrix", file, "--seeds", "0").code == 2
    assert cli("matrix", file, "--format", "html").code == 2
    assert "Did you mean `local`?" in cli("matrix", file, "--engine", "locl").err
    assert cli("matrix").code == 2


def test_more_than_a_thousand_runs_are_asked_about(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(f"vary.eval_size = {list(range(1, 502))}")
    assert cli("matrix", file, "--dry-run", "--seeds", "2").code == 0
    outcome = cli("matrix", file, "--seeds", "2")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: The matrix has up to 1,002 runs. If that is meant, say --yes; --dry-run shows them.\n"
    )
    answers = iter(["n\n", "y\n"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(answers).strip())
    outcome = cli("matrix", file, "--seeds", "2")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (2, "Error: Nothing was started.")
    assert not Path("runs").exists()
    # The answer is yes, and the next thing to be wrong is the folder; as it is for 1,000 runs, and with --yes.
    Path("taken").touch()
    for seeds, more in (("2", ()), ("2", ("--yes",)), ("1", ())):
        outcome = cli("matrix", file, "--seeds", seeds, "--out", "taken", "-q", *more)
        assert outcome.err.splitlines()[-1] == "Error: `taken` is a file: name another folder with --out."


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--yes",), ("--seeds", "3")])
def test_a_thousand_million_runs_are_refused_at_once(more: tuple[str, ...], cli: Command) -> None:
    numbers = list(range(1000))
    file = written(f"seeds = 2\nvary.seed = {numbers}\nvary.eval_size = {numbers}\nvary.budget = {numbers}")
    outcome = cli("matrix", file, *more)
    count = "3,000,000,000" if "--seeds" in more else "2,000,000,000"
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"Error: The matrix has up to {count} runs, and 100,000 are the most. Divide it into several.\n"
    )


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_matrix_ends_with_a_table_and_a_folder_named_after_its_file(cli: Command, here: None) -> None:
    outcome = cli("matrix", written(), "--engine", "here")
    assert outcome.code == 0
    assert "What the runs found" in outcome.out
    assert outcome.out.endswith("Written to 'runs/two students'; rcframe report 'runs/two students' makes a page.\n")
    assert [(row["name"], row["status"]) for row in rows("runs/two students")] == [("kd", "done"), ("plain", "done")]
    record = json.loads(Path("runs/two students/matrix.json").read_text())
    assert record["command"] == "rcframe matrix 'two students.toml' --engine here"


def test_quiet_prints_the_result_only(cli: Command, here: None) -> None:
    outcome = cli("matrix", written(), "--engine", "here", "-q", "--out", "m")
    assert (outcome.code, outcome.err) == (0, "")
    assert "What the runs found" in outcome.out
    assert "Written to" not in outcome.out


def test_without_a_cache_nothing_is_shared(cli: Command, here: None, own_cache: Path) -> None:
    assert cli("matrix", written(), "--engine", "here", "-q", "--no-cache").code == 0
    assert list(own_cache.rglob("*.safetensors")) == []


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "latex"])
def test_the_result_has_other_forms(form: str, cli: Command, here: None) -> None:
    outcome = cli("matrix", written(), "--engine", "here", "-q", "--format", form)
    assert (outcome.code, outcome.err) == (0, "")
    if form == "json":
        assert [row["run"] for row in json.loads(outcome.out)["rows"]] == ["kd", "plain"]
    elif form == "csv":
        assert [row["run"] for row in csv.DictReader(io.StringIO(outcome.out))] == ["kd", "plain"]
    elif form == "markdown":
        table = [line for line in outcome.out.splitlines() if line.startswith("|")]
        assert len(table) == 4
        assert len({line.count("|") for line in table}) == 1
    else:
        assert outcome.out.count(r"\begin{tabular}") == outcome.out.count(r"\end{tabular}") == 1
        assert outcome.out.count(r"\\") == 3


def test_a_run_that_fails_leaves_the_others_their_results(cli: Command, here: None) -> None:
    outcome = cli("matrix", written(), "--engine", "here:fails=plain", "--out", "m", "--format", "json")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == (
        "Error: 1 of 2 runs have no result: `plain` (seed 0): No [luck]. What the others found is in `m`; the same "
        "command tries those again."
    )
    (kd, plain) = json.loads(outcome.out)["rows"]
    assert (kd["run"], plain["run"]) == ("kd", "plain")
    assert plain["remarks"] == "not finished: No [luck]."
    assert cli("matrix", written(), "--engine", "here", "--out", "m").code == 0


def test_an_interrupt_ends_with_130_and_how_to_go_on(cli: Command, here: None) -> None:
    outcome = cli("matrix", written(), "--engine", "here:stops=plain", "--out", "m")
    assert outcome.code == 130
    assert outcome.err.endswith("Error: Interrupted.\nWhat was computed is kept in m; the same command goes on.\n")
    assert [row["status"] for row in rows("m")] == ["done", "waiting"]
    outcome = cli("matrix", written(), "--engine", "here", "--out", "m")
    assert outcome.code == 0
    assert "2 runs, 1 of them done." in outcome.err


def test_a_folder_with_something_else_is_refused(cli: Command, here: None) -> None:
    Path("m").mkdir()
    Path("m/thesis.tex").touch()
    outcome = cli("matrix", written(), "--engine", "here", "--out", "m", "-q")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "Error: `m` holds something else than a matrix: name another folder with --out.\n"


# -- in processes of their own ----------------------------------------------------------------------------------------

DIGITS = """
[run]
data = "digits"
model = "mlp:hidden=8"
eval_size = 50
device = "cpu"
attack = "fgsm"
"teacher.epochs" = 1
"student.epochs" = 1
[vary]
student = ["kd", "plain"]
"""


def figures(folder: Path) -> dict[str, object]:
    report = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in ("seconds", "command")}


@pytest.mark.slow
def test_a_matrix_finds_what_its_runs_find_alone(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RCFRAME_RUN_SEED", "7")
    outcome = cli("matrix", written(DIGITS), "--out", "m", "--engine", "local:2")
    assert outcome.code == 0, outcome.err
    monkeypatch.delenv("RCFRAME_RUN_SEED")
    found = rows("m")
    assert [(row["name"], row["status"]) for row in found] == [("kd", "done"), ("plain", "done")]
    for row in found:
        alone = f"alone-{row['name']}"
        asked = (
            *("--data", "digits", "--model", "mlp:hidden=8", "--teacher", "plain:epochs=1", "--attack", "fgsm"),
            *("--student", f"{row['name']}:epochs=1", "--eval-size", "50", "--device", "cpu"),
        )
        assert cli("run", *asked, "--no-cache", "--out", alone, "-q").code == 0
        assert figures(Path("m", row["folder"])) == figures(Path(alone))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_matrix_survives_a_run_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    # The killed run is long enough to be met in its middle, and keeps its state after every batch.
    file.write_text(DIGITS.replace("eval_size = 50", "eval_size = 50\ncheckpoint = 0").replace('s" = 1', 's" = 5'))
    command = (sys.executable, "-m", "rcframe", "matrix", str(file), "--out", "m", "--engine", "local:2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    matrix = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    killed = _kill_one_run(tmp_path / "m", matrix.pid)
    out, err = matrix.communicate(timeout=240)
    assert matrix.returncode == 0, err
    assert {row["status"] for row in rows(tmp_path / "m")} == {"done"}
    assert "What the runs found" in out
    alone = tmp_path / "alone"
    asked = (sys.executable, "-m", "rcframe", "run", str(tmp_path / "m" / "jobs" / f"{killed}.toml"))
    subprocess.run([*asked, "--no-cache", "--out", str(alone), "-q"], check=True, cwd=tmp_path, env=environment)
    assert figures(tmp_path / "m" / "runs" / killed) == figures(alone)


def _kill_one_run(folder: Path, parent: int) -> str:
    """Kill -9 a run of a matrix in the middle of its training; return its id."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in _children(parent):
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            out = Path(words[words.index("--out") + 1])
            if any((out / "progress").glob("*.safetensors")) and not (out / "report.json").exists():
                os.kill(child, signal.SIGKILL)
                return out.name
        time.sleep(0.02)
    raise AssertionError("no run ever kept its state")


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], check=False, capture_output=True, text=True)
    return [int(number) for number in listed.stdout.split()]

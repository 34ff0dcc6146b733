from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.session.report import Report
from rcframe.session.results import read_result
from rcframe.session.watching import Clean, WatchedRun, WatchedSeeds, look

if TYPE_CHECKING:
    from tests.conftest import Command

TINY = ("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4", "--device", "cpu")
BEGUN = '{"stage": "teacher/train", "epoch": 1, "seconds": 0.5, "loss": 2.5}\n'
PATIENCE_SECONDS = 60


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rcframe", *arguments]


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def seen(folder: Path) -> WatchedRun | WatchedSeeds | None:
    return look(folder) if (folder / "run.toml").exists() else None


def state(folder: Path) -> str:
    found = seen(folder)
    return found.state if found else "none"


def trains(folder: Path, epochs: int) -> bool:
    """Whether the run is in its first stage, so many epochs far."""
    found = seen(folder)
    return isinstance(found, WatchedRun) and any(stage.done >= epochs for stage in found.stages)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that was stopped."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.toml").write_text("command = 'rcframe run --student kd'\n")
    (folder / "metrics.jsonl").write_text(BEGUN)
    return folder


class Screen:
    """What a process draws on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._drawn = b""

    @property
    def raw(self) -> str:
        """All that was drawn."""
        self._read()
        return self._drawn.decode(errors="replace").replace("\r", "")

    @property
    def text(self) -> str:
        """All that was drawn, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.raw)

    def ended(self) -> bool:
        """Whether the process is over; what it draws must be read for it to go on."""
        over = self.process.poll() is not None
        self._read()
        return over

    def _read(self) -> None:
        # The end of the other side is an error, nothing new as well.
        with suppress(OSError):
            while piece := os.read(self._ours, 65536):
                self._drawn += piece

    def close(self) -> None:
        """End the process, if it is still there."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def screen(*arguments: str) -> Iterator[Screen]:
    drawn = Screen(*arguments)
    try:
        yield drawn
    finally:
        drawn.close()


def test_a_finished_run_is_shown_with_its_table(cli: Command) -> None:
    assert cli("run", *TINY, "--teacher", "plain:epochs=2", "--student", "kd:epochs=1", "-q", "--out", "a").code == 0
    outcome = cli("watch", "a")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("a: finished\nrcframe run --data glyphs")
    for words in (
        "2/2 epochs",
        "1/1 epochs",
        "computed in",
        "teacher: clean",
        "9 images",
        "measured 2 of 2",
        "│ clean",
    ):
        assert words in outcome.out
    assert cli("watch", "a", "--once").out == outcome.out


def test_stages_and_measurements_of_a_real_run_are_told_by_its_work_alone(cli: Command) -> None:
    """What the work log of a run says is understood: which work is a stage, and how many epochs it has."""
    assert cli("run", *TINY, "--teacher", "plain:epochs=2", "--attack", "fgsm", "-q", "--out", "a").code == 0
    for name in ("log.txt", "metrics.jsonl"):
        Path("a", name).unlink()
    found = look(Path("a"))
    assert isinstance(found, WatchedRun)
    assert (found.stages[0].name, found.stages[0].done) == ("teacher/train", 2)
    assert [piece.name for piece in found.measurements] == [
        *("teacher: clean", "teacher: fgsm", "student: clean", "student: fgsm", "teacher: trust", "student: trust")
    ]
    assert found.asked.measurements == 4
    report = read_result(Path("a/report.json"))
    assert isinstance(report, Report)
    assert found.clean == Clean(report.teacher.clean.accuracy, report.student.clean.accuracy, report.seconds)


def test_several_seeds_are_shown_with_their_table(cli: Command) -> None:
    short = ("--teacher", "plain:epochs=1", "--student", "kd:epochs=1")
    assert cli("run", *TINY, *short, "--seeds", "2", "--seed", "5", "-q", "--out", "a").code == 0
    outcome = cli("watch", "a")
    assert outcome.code == 0
    assert re.search(r"^seed 5: finished, clean accuracy [\d.]+% \(teacher\), [\d.]+% \(student\), ", outcome.out, re.M)
    assert re.search(r"^seed 6: finished, ", outcome.out, re.M)
    assert "seeds 5 to 6" in outcome.out


def test_a_stopped_run_is_shown_at_once_and_without_torch(shell: Command, begun: Path) -> None:
    outcome = shell("watch", str(begun))
    assert outcome.code == 0
    assert outcome.err == "without torch\n"
    assert outcome.out.startswith(f"{begun}: stopped, last wrote ")
    assert f"Go on with: rcframe run --resume {begun}\n" in outcome.out
    assert "teacher/train      1/? epochs  0.5 s each  unfinished\n  loss 2.5\n" in outcome.out


def test_lines_are_not_broken_where_no_terminal_is(cli: Command, begun: Path) -> None:
    assert f"Go on with: rcframe run --resume {begun}\n" in cli("watch", str(begun), COLUMNS="20").out


def test_help_needs_no_torch(shell: Command) -> None:
    outcome = shell("watch", "--help")
    assert outcome.code == 0
    assert "--interval" in outcome.out
    assert outcome.err == "without torch\n"


def test_a_folder_without_a_run_is_refused(cli: Command, tmp_path: Path) -> None:
    assert cli("watch", "nowhere").code == 2
    outcome = cli("watch", str(tmp_path))
    assert outcome.code == 2
    assert "has no `run.toml`, so no run has begun in it" in outcome.err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(cli: Command, begun: Path, seconds: str) -> None:
    outcome = cli("watch", str(begun), "--interval", seconds)
    assert outcome.code == 2
    assert f"`--interval` is {seconds}, but it must be 0.1 seconds or more" in outcome.err


def test_on_a_terminal_the_picture_follows_the_run_until_ctrl_c(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(begun.parent)
    with screen("watch", "run", "--interval", "0.1") as drawn:
        until(lambda: "1/? epochs" in drawn.text and "Waiting for the run to go on." in drawn.text)
        with (begun / "metrics.jsonl").open("a") as metrics:
            metrics.write(BEGUN.replace('"epoch": 1', '"epoch": 7'))
        until(lambda: "7/? epochs" in drawn.text)
        drawn.process.send_signal(signal.SIGINT)
        until(drawn.ended)
        assert drawn.process.returncode == 0
        assert "Error" not in drawn.text
        # The last picture stays, in place of the one before, without what was only said to whoever waits.
        assert drawn.text.endswith("7/? epochs  0.25 s each  unfinished\n  loss 2.5 ▅▅ 2.5\n")
        assert re.search(r"\x1b\[1A\x1b\[2Krun: [^\n]*stopped[^\n]*\n(?!.*run: )", drawn.raw, re.DOTALL)


def test_on_a_terminal_a_look_may_be_enough(begun: Path) -> None:
    with screen("watch", str(begun), "--once") as drawn:
        until(drawn.ended)
        assert drawn.process.returncode == 0
        assert drawn.text.count("1/? epochs") == 1


def test_on_a_terminal_the_end_of_the_run_is_shown_with_its_table(cli: Command, tmp_path: Path) -> None:
    assert cli("run", *TINY, "--teacher", "plain:epochs=1", "-q", "--out", "a").code == 0
    report, elsewhere = Path("a/report.json"), tmp_path / "report.json"
    shutil.move(report, elsewhere)
    with screen("watch", "a", "--interval", "0.1") as drawn:
        until(lambda: "stopped" in drawn.text)
        assert drawn.process.poll() is None
        elsewhere.rename(report)
        until(drawn.ended)
        assert drawn.process.returncode == 0
        assert "a: finished" in drawn.text
        assert "│ clean" in drawn.text


def test_a_real_run_is_watched_while_it_goes_and_after_it_was_killed(cli: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = subprocess.Popen(
        command("run", *TINY, "--teacher", "plain:epochs=100000", "-q", "--checkpoint", "0", "--out", str(folder))
    )
    try:
        until(lambda: trains(folder, 2))
        outcome = cli("watch", str(folder))
        assert outcome.code == 0
        assert outcome.out.startswith(f"{folder}: running, last wrote just now\n")
        assert re.search(r"^teacher/train +\d+/100000 epochs  .* each  .* left$", outcome.out, re.M)
        assert re.search(r"^  loss \S+ [▁-█]+ \S+  accuracy ", outcome.out, re.M)
        further = look(folder)
        assert isinstance(further, WatchedRun)
        until(lambda: trains(folder, further.stages[0].done + 1))
        assert run.poll() is None
    finally:
        run.kill()
        run.wait()
    until(lambda: state(folder) == "stopped")
    outcome = cli("watch", str(folder))
    assert f"Go on with: rcframe run --resume {folder}\n" in outcome.out
    assert re.search(r"^teacher/train +\d+/100000 epochs  .* each  unfinished$", outcome.out, re.M)

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from rcframe.errors import RequestError
from rcframe.session.layout import RunFiles
from rcframe.session.logfile import Remark
from rcframe.session.metrics import Line
from rcframe.session.watching import Clean, WatchedRun, WatchedSeeds, WatchedStage, look
from rcframe.session.worklog import Outcome, read_worklog
from rcframe.storage.identity import Identity
from rcframe.storage.locks import locked

TRAIN = {"name": "teacher/train", "epochs": "3", "batches": "22", "role": "teacher"}
CLEAN = {"name": "teacher: clean", "test images": "7f", "network": "3a"}


@attrs.frozen
class Folder:
    """A run's folder, and what the run writes into it."""

    files: RunFiles

    @property
    def path(self) -> Path:
        return self.files.path

    def epoch(self, stage: str, number: int, seconds: float | None, **metrics: float) -> None:
        with self.files.metrics.open("a") as file:
            file.write(json.dumps({"stage": stage, "epoch": number, "seconds": seconds, **metrics}) + "\n")

    def said(self, text: str) -> None:
        with self.files.log.open("a") as file:
            file.write(f"2026-01-02 03:04:05,678 INFO rcframe {text}\n")

    def noted(self, outcome: Outcome, seconds: float, parts: Mapping[str, str]) -> None:
        read_worklog(self.files.worklog).note(Identity(parts), outcome, seconds)

    def reported(self, teacher: float, student: float) -> None:
        accuracies = {
            role: {"clean": {"accuracy": value}} for role, value in (("teacher", teacher), ("student", student))
        }
        self.files.report.write_text(json.dumps({"seconds": 12, **accuracies}))


def begun(path: Path, text: str = "command = 'rcframe run --student kd'\n") -> Folder:
    path.mkdir(parents=True)
    (path / "run.toml").write_text(text)
    return Folder(RunFiles(path))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return begun(tmp_path / "run")


@pytest.fixture
def seeds(tmp_path: Path) -> Folder:
    return begun(tmp_path / "run", "seed = 3\nseeds = 4\n")


def never() -> None:
    raise AssertionError("nobody else has it")


def run_in(folder: Folder) -> WatchedRun:
    seen = look(folder.path)
    assert isinstance(seen, WatchedRun)
    return seen


def seeds_in(folder: Folder) -> WatchedSeeds:
    seen = look(folder.path)
    assert isinstance(seen, WatchedSeeds)
    return seen


def stage_of(*seconds: float | None, total: int | None = None) -> WatchedStage:
    lines = tuple(Line("a", number, passed, {}) for number, passed in enumerate(seconds, 1))
    return WatchedStage(name="a", lines=lines, total=total, batches=None)


def test_a_run_that_has_just_begun_has_nothing_to_show(folder: Folder) -> None:
    seen = run_in(folder)
    assert seen.path == folder.path
    assert seen.asked.command == "rcframe run --student kd"
    assert (seen.stages, seen.measurements, seen.remarks, seen.mixed) == ((), (), (), ())


def test_a_run_is_running_as_long_as_a_process_holds_its_lock(folder: Folder) -> None:
    assert run_in(folder).state == "stopped"
    with locked(folder.files.lock, never):
        assert run_in(folder).state == "running"
    assert run_in(folder).state == "stopped"


def test_a_run_is_finished_once_it_has_a_report(folder: Folder) -> None:
    folder.reported(0.75, 0.5)
    with locked(folder.files.lock, never):
        assert run_in(folder).state == "finished"
    assert run_in(folder).state == "finished"
    assert run_in(folder).clean == Clean(0.75, 0.5, 12.0)


def test_a_report_that_cannot_be_read_is_left_to_whoever_shows_it(folder: Folder) -> None:
    folder.files.report.write_text("{}")
    assert (run_in(folder).state, run_in(folder).clean) == ("finished", None)


def test_a_stage_that_trains_tells_its_epochs(folder: Folder) -> None:
    folder.said("stage teacher/train: 3 epochs of 22 batches")
    (stage,) = run_in(folder).stages
    assert (stage.name, stage.done, stage.total, stage.batches, stage.finished) == ("teacher/train", 0, 3, 22, None)
    assert stage.metrics == {}
    folder.epoch("teacher/train", 1, 0.5, loss=2.0)
    folder.epoch("teacher/train", 2, 1.0, loss=1.0, accuracy=0.5)
    (stage,) = run_in(folder).stages
    assert (stage.done, stage.total) == (2, 3)
    assert stage.metrics == {"loss": 1.0, "accuracy": 0.5}
    assert stage.curve("loss") == (2.0, 1.0)
    assert stage.curve("accuracy") == (0.5,)


def test_without_a_log_the_number_of_epochs_is_not_known_before_the_end(folder: Folder) -> None:
    folder.epoch("teacher/train", 1, 0.5, loss=2.0)
    (stage,) = run_in(folder).stages
    assert (stage.done, stage.total, stage.seconds_left) == (1, None, None)
    folder.noted("computed", 1.5, TRAIN)
    (stage,) = run_in(folder).stages
    assert (stage.done, stage.total, stage.batches, stage.finished, stage.seconds) == (3, 3, 22, "computed", 1.5)


def test_a_stage_that_cannot_be_shared_tells_no_epochs_when_it_is_finished(folder: Folder) -> None:
    folder.epoch("teacher/train", 1, 0.5, loss=2.0)
    folder.noted("computed", 1.5, {"name": "teacher/train", "role": "teacher"})
    (stage,) = run_in(folder).stages
    assert (stage.done, stage.total, stage.finished) == (1, None, "computed")


def test_stages_come_in_their_order_however_far_they_are(folder: Folder) -> None:
    folder.noted("cache", 0.1, TRAIN)
    folder.noted("computed", 0.1, {"name": "student/none", "epochs": "0"})
    folder.epoch("teacher/train", 1, None, loss=2.0)
    for name in ("student/none", "student/train", "student/next"):
        folder.said(f"stage {name}: 5 epochs of 2 batches")
    folder.epoch("student/train", 1, 0.5, loss=2.0)
    stages = run_in(folder).stages
    assert [stage.name for stage in stages] == ["teacher/train", "student/none", "student/train", "student/next"]
    assert [stage.finished for stage in stages] == ["cache", "computed", None, None]


def test_the_time_of_an_epoch_is_the_middle_one() -> None:
    # Two, two and five seconds.
    assert stage_of(2.0, 4.0, 9.0).epoch_seconds == 2.0
    assert stage_of(2.0, 4.0, 9.0, total=13).seconds_left == 20.0


def test_the_clock_of_a_stage_starts_anew_after_a_stop() -> None:
    # Ten, ten, four and two seconds.
    assert stage_of(10.0, 20.0, 4.0, 6.0).epoch_seconds == 7.0


def test_epochs_that_were_trained_elsewhere_tell_no_time() -> None:
    assert stage_of(None, None, total=4).epoch_seconds is None
    assert stage_of(None, None, total=4).seconds_left is None
    assert stage_of(None, None, 3.0).epoch_seconds == 3.0


def test_measurements_are_told_apart_from_stages(folder: Folder) -> None:
    folder.said("measuring teacher: clean on 24 images")
    folder.noted("computed", 0.25, CLEAN)
    folder.said("measuring teacher: pgd on 24 images")
    seen = run_in(folder)
    assert seen.stages == ()
    clean, pgd = seen.measurements
    assert (clean.name, clean.images, clean.finished, clean.seconds) == ("teacher: clean", 24, "computed", 0.25)
    assert (pgd.name, pgd.images, pgd.finished) == ("teacher: pgd", 24, None)


@pytest.mark.parametrize(
    ("typed", "count"),
    [("", 2), ("[typed]\nattack = ['pgd', 'fgsm']\ncertifier = ['convex']\n", 8), ("typed = 3\n", 2)],
)
def test_the_number_of_measurements_follows_from_the_request(tmp_path: Path, typed: str, count: int) -> None:
    assert look(begun(tmp_path / "run", typed).path).asked.measurements == count


def test_what_the_run_said_and_how_it_was_mixed_is_kept(folder: Folder) -> None:
    folder.said("student/train: goes on where it was stopped")
    read_worklog(folder.files.worklog).mixed_by(["code of rcframe"])
    seen = run_in(folder)
    assert seen.remarks == (Remark(datetime(2026, 1, 2, 3, 4, 5), "student/train: goes on where it was stopped"),)
    assert seen.mixed == ("code of rcframe",)


@pytest.mark.parametrize("name", ["metrics.jsonl", "log.txt", "work.json", "progress"])
def test_the_last_sign_of_life_is_the_latest_of_all_files(folder: Folder, name: str) -> None:
    os.utime(folder.files.config, (1000, 1000))
    assert run_in(folder).written == 1000
    path = folder.path / name
    if name == "progress":
        path.mkdir()
    elif name == "work.json":
        folder.noted("computed", 1.0, TRAIN)
    else:
        path.write_text("")
    os.utime(path, (2000, 2000))
    assert run_in(folder).written == 2000


def test_seeds_are_watched_one_by_one(seeds: Folder) -> None:
    assert (seeds_in(seeds).state, seeds_in(seeds).runs, seeds_in(seeds).seeds_to_come) == ("stopped", (), (3, 4, 5, 6))
    begun(seeds.path / "seed-3", "seed = 3\n").reported(1.0, 0.5)
    second = begun(seeds.path / "seed-4", "seed = 4\n")
    second.epoch("teacher/train", 1, 0.5, loss=2.0)
    begun(seeds.path / "seed-9", "seed = 9\n")
    with locked(second.files.lock, never):
        seen = seeds_in(seeds)
    assert seen.state == "running"
    assert [(run.asked.seed, run.state) for run in seen.runs] == [(3, "finished"), (4, "running")]
    assert seen.runs[0].clean == Clean(1.0, 0.5, 12.0)
    assert [stage.done for stage in seen.runs[1].stages] == [1]
    assert seen.seeds_to_come == (5, 6)
    assert seen.written == max(run.written for run in seen.runs)
    assert seeds_in(seeds).state == "stopped"


def test_seeds_are_under_way_between_two_of_them_too(seeds: Folder) -> None:
    begun(seeds.path / "seed-3", "seed = 3\n").reported(1.0, 0.5)
    with locked(seeds.files.lock, never):
        assert seeds_in(seeds).state == "running"


def test_seeds_are_finished_once_they_have_a_report_together(seeds: Folder) -> None:
    last = begun(seeds.path / "seed-6", "seed = 6\n")
    seeds.files.report.write_text("{}")
    with locked(last.files.lock, never):
        assert seeds_in(seeds).state == "finished"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"`.*nowhere` does not exist\. Name the folder"):
        look(tmp_path / "nowhere")
    with pytest.raises(RequestError, match=r"has no `run\.toml`, so no run has begun in it\. Name the folder"):
        look(tmp_path)


def test_looking_changes_nothing(folder: Folder) -> None:
    folder.epoch("teacher/train", 1, 0.5, loss=2.0)
    folder.files.lock.touch()

    def content() -> list[tuple[str, int, bytes]]:
        return [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.path.iterdir())]

    before, folder_before = content(), folder.path.stat().st_mtime_ns
    folder.path.chmod(0o500)
    try:
        run_in(folder)
    finally:
        folder.path.chmod(0o700)
    assert (content(), folder.path.stat().st_mtime_ns) == (before, folder_before)


def test_files_may_come_and_go_while_one_looks(folder: Folder) -> None:
    """What a run writes appears, is replaced and removed at any instant."""
    before = sys.getswitchinterval()
    folder.epoch("teacher/train", 1, 0.5, loss=2.0)
    folder.said("stage teacher/train: 3 epochs of 22 batches")
    folder.noted("computed", 1.5, TRAIN)
    kept = {path: path.read_text() for path in (folder.files.metrics, folder.files.log, folder.files.worklog)}
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            for path in kept:
                path.unlink()
            for path, text in kept.items():
                written = path.with_suffix(".tmp")
                written.write_text(text)
                written.replace(path)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        # So often that any two steps of looking may have others between them.
        sys.setswitchinterval(1e-6)
        looks = [run_in(folder) for _ in range(3000)]
    finally:
        sys.setswitchinterval(before)
        enough.set()
        thread.join()
    assert {stage.name for seen in looks for stage in seen.stages} <= {"teacher/train"}

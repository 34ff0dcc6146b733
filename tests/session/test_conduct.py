from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from rcframe.errors import RequestError
from rcframe.networks.weights import read_weights
from rcframe.session.conduct import Conductor
from rcframe.session.config import make_config
from rcframe.session.metrics import read_metrics
from rcframe.session.report import Report
from rcframe.session.seeds import SeedsReport
from rcframe.session.stopping import Interrupted, Stop
from rcframe.storage.cache import Cache
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage

#: Three batches per epoch: nine of the teacher, six of the student, then measurements.
TINY: dict[str, Any] = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=3,batch_size=8",
    "student": "kd:epochs=2,batch_size=8",
    "attack": "pgd:steps=2",
    "checkpoint": 0,
}


class Told(Monitor):
    """Keeps what it is told, and asks the run to stop after so many batches and measurements."""

    def __init__(self, stop: Stop | None = None, after: int = -1) -> None:
        self.stop, self.left = stop or Stop(), after
        self.trained: list[str] = []
        self.recalled: list[str] = []
        self.said_: list[str] = []
        self.batches = 0

    def stage_started(self, stage: Stage) -> None:
        self.trained.append(stage.name)

    def stage_recalled(self, stage: Stage) -> None:
        self.recalled.append(stage.name)

    def batch_done(self, stage: Stage, images: int) -> None:
        self.batches += 1
        self._count()

    def measured(self, images: int) -> None:
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.requested = True

    def said(self, text: str) -> None:
        self.said_.append(text)


def started(out: Path | None, **changes: Any) -> Report | SeedsReport:
    return Conductor().start(make_config({**TINY, **changes}), "a test", out).result


def stopped(out: Path, after: int, **changes: Any) -> Told:
    """Start a run that is asked to stop after some batches; return what was told."""
    told = Told(Stop(), after)
    conductor = Conductor(display=told, stop=told.stop)
    with pytest.raises(Interrupted) as raised:
        conductor.start(make_config({**TINY, **changes}), "a test", out)
    assert raised.value.__notes__ == [f"What was computed is kept. Go on with: rcframe run --resume {out}"]
    return told


def figures(report: Report | SeedsReport) -> Mapping[str, object]:
    return {name: value for name, value in report.as_json().items() if name != "seconds"}


def same(one: Path, other: Path) -> None:
    """Hold that two folders have equal weights and curves."""
    for role in ("teacher", "student"):
        first, second = (read_weights(folder / f"{role}.safetensors") for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())
    curves = [
        [(line.stage, line.epoch, line.metrics) for line in read_metrics(f / "metrics.jsonl")] for f in (one, other)
    ]
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    report = started(folder)
    assert isinstance(report, Report)
    return folder, report


# -- starting ---------------------------------------------------------------------------------------------------------


def test_a_run_writes_where_it_is_told_or_to_a_fresh_folder_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config({**TINY, "teacher": "plain:epochs=0", "student": "plain:epochs=0"})
    conductor = Conductor()
    assert conductor.start(config, "a test", None).folder is None
    assert os.listdir(tmp_path) == []
    assert conductor.start(config, "a test", Path("out")).folder == Path("out")
    assert conductor.start(config, "a test", None, fresh=True).folder == Path("runs/glyphs-plain-plain-1")
    assert (tmp_path / "out" / "report.json").is_file()
    assert (tmp_path / "runs" / "glyphs-plain-plain-1" / "report.json").is_file()
    assert conductor.start(config, "a test", None).is_main


def test_a_second_run_takes_everything_from_the_cache_and_says_the_same(
    tmp_path: Path, undisturbed: tuple[Path, Report]
) -> None:
    cache, config = Cache(tmp_path / "cache"), make_config(TINY)
    Conductor(cache=cache).start(config, "a test", tmp_path / "first")
    told = Told()
    second = Conductor(display=told, cache=cache).start(config, "a test", tmp_path / "second").result
    assert figures(second) == figures(undisturbed[1])
    assert (told.trained, told.recalled, told.batches) == ([], ["teacher/train", "student/train"], 0)
    same(tmp_path / "second", undisturbed[0])


def test_another_attack_trains_nothing_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    Conductor(cache=cache).start(make_config(TINY), "a test", None)
    told, changed = Told(), make_config({**TINY, "attack": "pgd:steps=3"})
    found = Conductor(display=told, cache=cache).start(changed, "a test", None).result
    assert told.trained == []
    assert figures(found) == figures(started(None, attack="pgd:steps=3"))


def test_another_student_trains_no_teacher_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    Conductor(cache=cache).start(make_config(TINY), "a test", None)
    told, changed = Told(), make_config({**TINY, "student": "plain:epochs=1"})
    found = Conductor(display=told, cache=cache).start(changed, "a test", None).result
    assert (told.trained, told.recalled) == (["student/train"], ["teacher/train"])
    assert figures(found) == figures(started(None, student="plain:epochs=1"))


# -- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 3, 4, 9, 10, 14, 15, 16, 17, 18], ids=lambda after: f"{after}")
def test_a_stopped_run_goes_on_to_the_same_end(after: int, tmp_path: Path, undisturbed: tuple[Path, Report]) -> None:
    out = tmp_path / "out"
    before = stopped(out, after)
    assert not (out / "report.json").exists()
    told = Told()
    torch.manual_seed(after)
    outcome = Conductor(display=told).resume(out)
    assert figures(outcome.result) == figures(undisturbed[1])
    assert outcome.folder == out
    assert before.batches + told.batches == 15
    same(out, undisturbed[0])
    assert not (out / "progress").exists()


class AfterOneBatch(Told):
    """Asks the run to stop after its next batch of training."""

    def __init__(self) -> None:
        super().__init__(Stop(), after=1)

    def measured(self, images: int) -> None:
        pass


def test_a_run_may_be_stopped_at_every_batch(tmp_path: Path, undisturbed: tuple[Path, Report]) -> None:
    out = tmp_path / "out"
    stopped(out, 1)
    for batch in range(2, 16):
        told = AfterOneBatch()
        with pytest.raises(Interrupted):
            Conductor(display=told, stop=told.stop).resume(out)
        assert told.batches == 1, batch
    told = AfterOneBatch()
    assert figures(Conductor(display=told, stop=told.stop).resume(out).result) == figures(undisturbed[1])
    assert told.batches == 0
    same(out, undisturbed[0])


def test_a_finished_run_is_only_read(undisturbed: tuple[Path, Report]) -> None:
    folder, report = undisturbed
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    told = Told()
    outcome = Conductor(display=told).resume(folder)
    assert figures(outcome.result) == figures(report)
    assert (told.trained, told.recalled, told.said_) == ([], [], [])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_resumed_run_keeps_its_command_and_the_names_of_its_parts(
    tmp_path: Path, undisturbed: tuple[Path, Report]
) -> None:
    spelled = {"attack": "rcframe-attacks/pgd:restarts=1,steps=2"}
    stopped(tmp_path / "out", 2, **spelled)
    report = Conductor().resume(tmp_path / "out").result
    assert isinstance(report, Report)
    assert report.command == "a test"
    assert list(report.student.attacked) == [spelled["attack"]]
    assert [m.result for m in report.student.attacked.values()] == [
        m.result for m in undisturbed[1].student.attacked.values()
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("[typed]", "[other]"),
        lambda text: text.replace('[[attack]]\nname = "pgd"', '[[attack]]\nname = "fgsm"\n[[attack]]\nname = "pgd"'),
    ],
    ids=["without what was typed", "with another attack"],
)
def test_a_configuration_that_was_edited_is_no_run_to_go_on_with(edit: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out, 2)
    text = (out / "run.toml").read_text()
    (out / "run.toml").write_text(edit(text))
    assert (out / "run.toml").read_text() != text
    with pytest.raises(RequestError):
        Conductor().resume(out)
    (out / "run.toml").write_text(text)
    Conductor().resume(out)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"has no `run\.toml`, so no run has begun in it"):
        Conductor().resume(tmp_path)


# -- several seeds ----------------------------------------------------------------------------------------------------


def test_several_seeds_are_as_many_runs_in_folders_of_their_own(tmp_path: Path) -> None:
    found = started(tmp_path / "out", seed=5, seeds=2)
    assert isinstance(found, SeedsReport)
    assert found.seeds == (5, 6)
    assert [figures(run) for run in found.runs] == [figures(started(None, seed=seed)) for seed in (5, 6)]
    assert {"run.toml", "report.json", "seed-5", "seed-6"} <= set(os.listdir(tmp_path / "out"))
    assert (tmp_path / "out" / "report.json").read_text() == found.to_json()
    started(tmp_path / "alone", seed=6)
    same(tmp_path / "out" / "seed-6", tmp_path / "alone")


def test_several_seeds_can_be_written_nowhere() -> None:
    found = started(None, seeds=2, teacher="plain:epochs=1", student="plain:epochs=1")
    assert isinstance(found, SeedsReport)
    assert found.seeds == (0, 1)


def test_what_a_run_left_that_was_killed_at_its_very_end_is_cleared(tmp_path: Path) -> None:
    Conductor().start(make_config(TINY), "test", tmp_path / "run")
    (tmp_path / "run" / "progress").mkdir()
    (tmp_path / "run" / "progress" / "teacher.safetensors").touch()
    Conductor().resume(tmp_path / "run")
    assert not (tmp_path / "run" / "progress").exists()


def test_seeds_that_are_finished_are_not_trained_again(tmp_path: Path) -> None:
    whole = started(tmp_path / "whole", seeds=2)
    # All of the first seed, with its four measurements, and two batches of the second.
    out = tmp_path / "out"
    before = stopped(out, 15 + 4 + 2, seeds=2)
    assert before.said_[:1] == ["seed 0"]
    assert "seed 1" in before.said_
    told = Told()
    found = Conductor(display=told).resume(out).result
    assert isinstance(whole, SeedsReport)
    assert isinstance(found, SeedsReport)
    assert [figures(run) for run in found.runs] == [figures(run) for run in whole.runs]
    assert told.batches == 15 - 2
    assert (out / "report.json").is_file()


def test_a_finished_repetition_is_only_read(tmp_path: Path) -> None:
    small = {"teacher": "plain:epochs=1", "student": "plain:epochs=1"}
    found = started(tmp_path / "out", seeds=2, **small)
    told = Told()
    again = Conductor(display=told).resume(tmp_path / "out").result
    assert again.to_json() == found.to_json()
    assert (told.trained, told.said_) == ([], [])

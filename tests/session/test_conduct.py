from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import BaseFileLock, FileLock

from rcframe.errors import RequestError
from rcframe.networks.weights import read_weights
from rcframe.session import conduct
from rcframe.session.conduct import Conductor
from rcframe.session.config import make_config
from rcframe.session.evidence import read_evidence
from rcframe.session.folder import RunFolder, create_folder
from rcframe.session.metrics import read_metrics
from rcframe.session.report import Report
from rcframe.session.seeds import SeedsReport
from rcframe.session.session import Session
from rcframe.session.stopping import Interrupted, Stop
from rcframe.storage import locks
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
    """Hold that two folders have equal weights, curves and evidence."""
    assert (one / "evidence.safetensors").read_bytes() == (other / "evidence.safetensors").read_bytes()
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


@pytest.mark.parametrize("after", [19, 23, 28, 40], ids=lambda after: f"{after}")
def test_a_run_stopped_in_its_search_for_radii_goes_on_to_the_same_end(after: int, tmp_path: Path) -> None:
    settings = {"certifier": "convex", "radii": 6}
    whole = started(tmp_path / "whole", **settings)
    out = tmp_path / "out"
    stopped(out, after, **settings)
    assert any("radii" in path.name for path in (out / "progress").iterdir())
    told = Told()
    assert figures(Conductor(display=told).resume(out).result) == figures(whole)
    same(out, tmp_path / "whole")


def test_evidence_of_a_spiking_run_that_went_on_is_the_same(tmp_path: Path) -> None:
    settings = {"model": "mlp:hidden=4", "neuron": "lif:steps=2", "student": "kd:epochs=1,batch_size=8"}
    started(tmp_path / "whole", **settings)
    stopped(tmp_path / "out", 13, **settings)
    Conductor().resume(tmp_path / "out")
    same(tmp_path / "out", tmp_path / "whole")
    assert read_evidence(tmp_path / "out" / "evidence.safetensors").spikes["student"]


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


# -- starting or going on, whichever it is ----------------------------------------------------------------------------


def continued(out: Path, told: Told | None = None, **changes: Any) -> Report | SeedsReport:
    conductor = Conductor(display=told or Told())
    return conductor.start_or_resume(make_config({**TINY, **changes}), "another command", out).result


def test_a_run_that_is_not_there_is_started(tmp_path: Path, undisturbed: tuple[Path, Report]) -> None:
    told = Told()
    report = continued(tmp_path / "below" / "out", told)
    assert figures(report) == {**figures(undisturbed[1]), "command": "another command"}
    assert told.batches == 15
    same(tmp_path / "below" / "out", undisturbed[0])


def test_a_run_that_was_stopped_is_gone_on_with(tmp_path: Path, undisturbed: tuple[Path, Report]) -> None:
    stopped(tmp_path / "out", 7)
    told = Told()
    assert figures(continued(tmp_path / "out", told)) == figures(undisturbed[1])
    assert told.batches == 15 - 7
    same(tmp_path / "out", undisturbed[0])


def test_a_run_that_is_finished_is_read(undisturbed: tuple[Path, Report]) -> None:
    folder, report = undisturbed
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    told = Told()
    # Another way to write the same run, and what the machine and the data would suggest anyway.
    same_run: dict[str, Any] = {"student": "kd:batch_size=(8),epochs=2", "model": "mlp:hidden=4,width=1"}
    same_run |= {"eps": "8/255", "device": "cpu", "workers": 1, "checkpoint": 3, "threads": 1}
    for changes in ({}, same_run):
        assert continued(folder, told, **changes).to_json() == report.to_json()
    assert (told.trained, told.recalled, told.said_) == ([], [], [])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"} == before


def test_several_seeds_are_gone_on_with(tmp_path: Path) -> None:
    small: dict[str, Any] = {"teacher": "plain:epochs=1", "student": "plain:epochs=1", "seeds": 2}
    found = continued(tmp_path / "out", **small)
    assert isinstance(found, SeedsReport)
    told = Told()
    assert continued(tmp_path / "out", told, **small).to_json() == found.to_json()
    assert told.trained == []
    with pytest.raises(RequestError, match="they differ in seeds"):
        continued(tmp_path / "out", **{**small, "seeds": 3})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"student": "kd:epochs=3,batch_size=8"}, "student"),
        ({"attack": "pgd:steps=3", "certifier": "convex", "model": "mlp:hidden=5"}, "model, student_model, attack, "),
        ({"student_model": "mlp:hidden=5"}, "student_model"),
        ({"teacher": "plain", "data": "glyphs:size=8,classes=3,train=25,test=12"}, "data, teacher"),
        ({"pruner": "filters", "neuron": "lif"}, "neuron, pruner"),
        ({"budget": 5, "eval_size": 3}, "eval_size, budget"),
        ({"eps": "1/255", "norm": "l2", "access": "white"}, "access, norm, eps"),
        ({"threads": 2, "deterministic": True, "precision": "bf16"}, "precision, threads, deterministic"),
    ],
)
def test_the_folder_of_another_run_is_refused_and_left_alone(
    changes: dict[str, Any], named: str, undisturbed: tuple[Path, Report]
) -> None:
    folder = undisturbed[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(RequestError) as raised:
        continued(folder, **changes)
    assert str(raised.value).startswith(f"`{folder}` holds another run than this one: they differ in {named}")
    assert str(raised.value).endswith(". Choose another folder with --out.")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_with_a_budget_is_another_than_one_without(tmp_path: Path) -> None:
    small: dict[str, Any] = {"teacher": "plain:epochs=0", "student": "plain:epochs=0"}
    started(tmp_path / "out", budget=5, **small)
    with pytest.raises(RequestError, match="they differ in budget"):
        continued(tmp_path / "out", **small)


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"has no `run\.toml`, so no run has begun in it"):
        continued(tmp_path)


class Patient(Told):
    """Ends what it waits for as soon as it is told to wait."""

    def __init__(self, lock: BaseFileLock) -> None:
        super().__init__()
        self.lock = lock

    def said(self, text: str) -> None:
        super().said(text)
        if "waiting for it" in text:
            self.lock.release()


def test_a_run_that_another_process_works_on_is_waited_for(tmp_path: Path, undisturbed: tuple[Path, Report]) -> None:
    out = tmp_path / "out"
    stopped(out, 7)
    told = Patient(FileLock(out / ".lock"))
    told.lock.acquire()
    assert figures(continued(out, told)) == figures(undisturbed[1])
    assert told.said_[0] == f"another process works in {out}; waiting for it"
    assert not told.lock.is_locked


@pytest.mark.parametrize("created", [False, True], ids=["in its place", "before its first stage"])
def test_a_process_that_another_comes_before_waits_and_reads_what_that_found(
    created: bool, tmp_path: Path, undisturbed: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process begins the same run between this one's look at the folder and its own beginning."""
    out = tmp_path / "out"
    told = Patient(FileLock(out / ".lock"))

    def come_before(path: Path, session: Session) -> RunFolder:
        begun = create_folder(path, session)
        told.lock.acquire()
        return begun if created else create_folder(path, session)

    monkeypatch.setattr(locks, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(conduct, "create_folder", come_before)
    report = continued(out, told)
    assert figures(report) == {**figures(undisturbed[1]), "command": "another command"}
    assert told.said_[0] == f"another process works in {out}; waiting for it"


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

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.networks.weights import read_architecture, read_weights
from rcframe.registry import registry
from rcframe.session.config import make_config, read_config
from rcframe.session.folder import RunFolder, create_folder
from rcframe.session.session import Session, carry_out, prepare_session
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

if TYPE_CHECKING:
    from tests.conftest import Announce

MODEL = "convnet:channels=4+4,hidden=8"
TINY: dict[str, Any] = {
    "data": "digits",
    "model": MODEL,
    "teacher": "plain:epochs=1",
    "student": "plain:epochs=1",
    "eval_size": 32,
    "seed": 0,
}
FILES = [
    *("evidence.safetensors", "log.txt", "metrics.jsonl", "report.json", "run.toml"),
    *("student.safetensors", "teacher.safetensors", "work.json"),
]
TRAINING_IMAGES = 1347


def run(**changes: Any) -> rc.Report:
    """Carry out a tiny run; nothing comes from the cache."""
    return rc.run(**{**TINY, "cache": False, **changes})


def visible(folder: Path) -> list[str]:
    """What the kernel writes into a folder; plugins that watch runs have folders of their own in it."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".") and name != "tensorboard")


def figures(report: rc.Report) -> dict[str, object]:
    """Everything a report says that does not depend on the clock or on how the run was asked for."""
    return {name: value for name, value in report.as_json().items() if name not in ("seconds", "command")}


def weights(folder: Path, role: str = "student") -> Mapping[str, Tensor]:
    return read_weights(folder / f"{role}.safetensors")


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def trained(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the normalisation, which belongs to the data."""
    return {name: value for name, value in tensors.items() if not name.startswith("normalize")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, rc.Report]:
    """A run with an attack, a certifier and a distilled student, and its report."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    report = run(student="kd:epochs=2", attack=["fgsm", "pgd:steps=2"], certifier="convex", eps="4/255", out=folder)
    return folder, report


# -- the folder and the report


def test_a_run_leaves_its_eight_files(finished: tuple[Path, rc.Report]) -> None:
    assert visible(finished[0]) == FILES
    assert [name for name in os.listdir(finished[0]) if name.startswith(".")] == [".lock"]


def test_the_report_in_the_folder_is_the_one_that_was_returned(finished: tuple[Path, rc.Report]) -> None:
    folder, report = finished
    assert json.loads((folder / "report.json").read_text()) == report.as_json()


def test_the_report_has_what_every_reader_may_rely_on(finished: tuple[Path, rc.Report]) -> None:
    written = json.loads((finished[0] / "report.json").read_text())
    assert {"command", "versions", "seed", "seconds", "device", "flags", "teacher", "student"} <= set(written)
    assert written["command"].startswith("rcframe.run(data='digits', ")
    assert written["seed"] == 0
    assert written["device"] in ("cpu", "cuda", "mps")
    assert written["seconds"] > 0
    assert {"python", "torch", "rcframe", "rcframe-attacks", "rcframe-convex", "rcframe-distill"} <= set(
        written["versions"]
    )
    assert any("only 32 images" in flag for flag in written["flags"])
    for role in ("teacher", "student"):
        model = written[role]
        assert list(model["attacked"]) == ["fgsm", "pgd:steps=2"]
        assert list(model["certified"]) == ["convex"]
        for measured in (model["clean"], *model["attacked"].values(), *model["certified"].values()):
            assert measured["n"] == 32
            assert 0 <= measured["low"] <= measured["accuracy"] <= measured["high"] <= 1
            assert (measured["accuracy"] * 32).is_integer()
        for measured in (*model["attacked"].values(), *model["certified"].values()):
            assert (measured["eps"], measured["norm"], measured["seed"]) == ("4/255", "linf", 0)
        # 4*16+4 and 4*4*16+4 for the convolutions, 16*8+8 and 8*10+10 for the layers behind them; two numbers
        # of normalisation.
        assert model["parameters"] == 68 + 260 + 136 + 90
        assert 0 < model["nonzero"] <= model["parameters"]
        assert model["bytes"] == 4 * (model["parameters"] + 2)


def test_the_protocol_of_an_attack_has_its_options_plugin_and_queries(finished: tuple[Path, rc.Report]) -> None:
    attacked = json.loads((finished[0] / "report.json").read_text())["student"]["attacked"]["pgd:steps=2"]
    assert attacked["options"].items() >= {"steps": 2, "step_size": None, "random_start": True, "restarts": 1}.items()
    assert (attacked["plugin"], attacked["version"]) == ("rcframe-attacks", "0.1.0")
    right = round(32 * json.loads((finished[0] / "report.json").read_text())["student"]["clean"]["accuracy"])
    queries = attacked["queries"]
    assert right < queries["images"] == queries["gradient_images"] <= 2 * right, "wrong images are not attacked"
    assert queries["calls"] == 2


def test_what_the_student_asked_is_counted(finished: tuple[Path, rc.Report]) -> None:
    queries = finished[1].queries
    # Nothing changes the images, so in two epochs each is asked for once.
    assert (queries.images, queries.gradient_images) == (TRAINING_IMAGES, 0)
    assert queries.calls == -(-TRAINING_IMAGES // 256)
    assert run().queries.images == 0


def test_metrics_have_a_line_per_stage_and_epoch(finished: tuple[Path, rc.Report]) -> None:
    lines = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("teacher/train", 1),
        ("student/train", 1),
        ("student/train", 2),
    ]
    assert all({"loss", "accuracy", "seconds"} <= set(line) for line in lines)


def test_the_log_tells_the_run_from_start_to_end(finished: tuple[Path, rc.Report]) -> None:
    text = (finished[0] / "log.txt").read_text()
    words = [
        *("stage teacher/train", "stage student/train"),
        *("measuring teacher: clean", "measuring student: certified by convex"),
    ]
    places = [text.index(each) for each in words]
    assert places == sorted(places)


def test_saved_networks_are_described(finished: tuple[Path, rc.Report]) -> None:
    for role in ("teacher", "student"):
        saved = read_architecture(finished[0] / f"{role}.safetensors")
        assert registry().make("model", saved.model) == registry().make("model", MODEL)
        assert (saved.neuron, saved.shape, saved.classes) == (None, (1, 8, 8), 10)


def test_the_configuration_says_every_option_and_the_environment(finished: tuple[Path, rc.Report]) -> None:
    written = tomllib.loads((finished[0] / "run.toml").read_text())
    assert written["eps"] == "4/255"
    assert written["student"][0]["temperature"] == 4.0
    assert [attack["name"] for attack in written["attack"]] == ["fgsm", "pgd"]
    assert written["versions"]["rcframe-attacks"] == "0.1.0"
    assert {"device", "threads", "platform"} <= set(written["environment"])


def test_the_configuration_repeats_the_run_with_identical_numbers(
    finished: tuple[Path, rc.Report], tmp_path: Path
) -> None:
    folder, report = finished
    torch.manual_seed(77)
    session = prepare_session(make_config(read_config(folder / "run.toml")), "again")
    again = carry_out(session, Monitor(), create_folder(tmp_path / "again", session))
    assert [robust_figures(again), again.queries] == [robust_figures(report), report.queries]
    for role in ("teacher", "student"):
        assert equal(weights(tmp_path / "again", role), weights(folder, role))


def robust_figures(report: rc.Report) -> list[list[object]]:
    """The numbers of both models; the names of attacks differ where a configuration spells out their options."""
    return [
        [part.result for part in (model.clean, *model.attacked.values(), *model.certified.values())]
        for model in (report.teacher, report.student)
    ]


def test_nothing_is_written_unless_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run()
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_refused_and_left_alone(finished: tuple[Path, rc.Report]) -> None:
    before = {name: (finished[0] / name).read_bytes() for name in FILES}
    with pytest.raises(rc.RequestError, match="exists already"):
        run(out=finished[0])
    assert {name: (finished[0] / name).read_bytes() for name in visible(finished[0])} == before


# -- seeds


def test_equal_seeds_give_equal_numbers_and_weights_and_others_do_not(tmp_path: Path) -> None:
    reports, networks = [], []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        reports.append(run(seed=seed, student="kd:epochs=1", attack="pgd:steps=2", out=tmp_path / str(number)))
        networks.append({**trained(weights(tmp_path / str(number)))})
    assert figures(reports[0]) == figures(reports[1])
    assert equal(networks[0], networks[1])
    assert not any(torch.equal(networks[0][name], networks[2][name]) for name in networks[0])


def test_teacher_and_student_start_from_different_weights(tmp_path: Path) -> None:
    run(teacher="plain:epochs=0", student="plain:epochs=0", out=tmp_path / "out")
    teacher, student = (trained(weights(tmp_path / "out", role)) for role in ("teacher", "student"))
    assert not any(torch.equal(teacher[name], student[name]) for name in teacher)


def test_what_is_measured_does_not_change_what_is_trained(tmp_path: Path) -> None:
    run(out=tmp_path / "clean")
    run(attack="pgd:steps=2", out=tmp_path / "attacked")
    assert equal(weights(tmp_path / "clean"), weights(tmp_path / "attacked"))


# -- how the parts are put together


class Starts(Monitor):
    """Keeps a copy of every stage's target at its start and end."""

    def __init__(self) -> None:
        self.starts: dict[str, dict[str, Tensor]] = {}
        self.ends: dict[str, dict[str, Tensor]] = {}
        self.was_closed = False

    def stage_started(self, stage: Stage) -> None:
        self.starts[stage.name] = {name: value.clone() for name, value in stage.target.state_dict().items()}

    def stage_done(self, stage: Stage) -> None:
        self.ends[stage.name] = {name: value.clone() for name, value in stage.target.state_dict().items()}

    def closed(self) -> None:
        self.was_closed = True


def watched(**changes: Any) -> tuple[Starts, rc.Report]:
    monitor = Starts()
    return monitor, carry_out(prepare_session(make_config({**TINY, **changes}), "test"), monitor, None)


def test_a_second_phase_starts_from_the_student_of_the_first() -> None:
    monitor, report = watched(student=["kd:epochs=1", "plain:epochs=1"])
    assert list(monitor.starts) == ["teacher/train", "student/train", "student/train-2"]
    assert equal(monitor.starts["student/train-2"], monitor.ends["student/train"])
    assert not equal(monitor.ends["student/train-2"], monitor.ends["student/train"])
    assert report.student.component == "kd:epochs=1 then plain:epochs=1"


def test_phases_of_a_pruned_student_are_all_fine_tuned() -> None:
    monitor, report = watched(student=["kd:epochs=1", "plain:epochs=1"], pruner="filters:ratio=0.5,finetune=1")
    small = [name for name, state in monitor.starts.items() if state["net.conv1.weight"].shape[0] == 2]
    assert small == ["student/train-3", "student/train-4"]
    assert report.student.size.parameters < report.teacher.size.parameters
    (pruned,) = report.student.pruned
    assert pruned.after.parameters == report.student.size.parameters
    assert pruned.before.parameters == report.teacher.size.parameters
    assert report.teacher.pruned == ()


def test_several_pruners_work_one_after_the_other() -> None:
    _, report = watched(pruner=["filters:ratio=0.5,finetune=0", "filters:ratio=0.5,finetune=0"])
    first, second = report.student.pruned
    assert first.after.parameters == second.before.parameters
    assert second.after.parameters == report.student.size.parameters


def test_the_student_may_have_another_network_than_the_teacher() -> None:
    _, report = watched(student_model="mlp:hidden=6")
    assert (report.teacher.model, report.student.model) == (MODEL, "mlp:hidden=6")
    assert report.student.size.parameters == 64 * 6 + 6 + 60 + 10


def test_the_student_of_an_earlier_run_becomes_a_teacher(finished: tuple[Path, rc.Report], tmp_path: Path) -> None:
    folder, report = finished
    monitor, again = watched(teacher=f"run:{folder}", attack="fgsm", eps="4/255")
    assert list(monitor.starts) == ["student/train"]
    assert again.teacher.clean.result == report.student.clean.result
    assert again.teacher.attacked["fgsm"].result == report.student.attacked["fgsm"].result


def test_a_pruned_spiking_student_becomes_a_teacher(tmp_path: Path) -> None:
    first = run(neuron="lif:steps=2", pruner="filters:ratio=0.5,finetune=0", out=tmp_path / "first")
    assert first.student.neuron == "lif:steps=2"
    second = run(teacher=f"run:{tmp_path / 'first'}", student="kd:epochs=1")
    assert second.teacher.clean.result == first.student.clean.result
    assert second.teacher.size == first.student.size


def test_a_brought_teacher_is_reported_and_saved_as_the_network_it_is(tmp_path: Path) -> None:
    run(neuron="lif:steps=2", out=tmp_path / "first")
    report = run(model="mlp:hidden=4", teacher=f"run:{tmp_path / 'first'}", out=tmp_path / "second")
    assert (report.teacher.model, report.teacher.neuron) == (MODEL, "lif:steps=2")
    assert (report.student.model, report.student.neuron) == ("mlp:hidden=4", None)
    first, second = tmp_path / "first" / "student.safetensors", tmp_path / "second" / "teacher.safetensors"
    assert read_architecture(second) == read_architecture(first)


def test_a_saved_teacher_is_brought_by_its_file(finished: tuple[Path, rc.Report]) -> None:
    folder, report = finished
    monitor, again = watched(teacher=f"file:{folder / 'teacher.safetensors'}")
    assert list(monitor.starts) == ["student/train"]
    assert again.teacher.clean.result == report.teacher.clean.result


def test_without_an_eps_the_customary_one_of_the_data_is_used() -> None:
    protocol = run(attack="fgsm").student.attacked["fgsm"].protocol
    assert protocol is not None
    assert str(protocol.eps) == "0.1"


def test_preparing_trains_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = prepare_session(make_config(TINY), "test")
    first = session.assembly.teacher.state_dict()
    assert equal(first, prepare_session(make_config(TINY), "test").assembly.teacher.state_dict())
    assert os.listdir(tmp_path) == []


# -- what a student may do


@rc.component
class Blind(rc.Training, rc.StudentStrategy):
    """Imitates the teacher's labels and keeps every label it is shown."""

    access = rc.Access.LABEL
    data = rc.Data.INPUTS
    seen: ClassVar[list[object]] = []

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        self.seen.append(run.data.train.labels)

        def step(stage: Stage, batch: rc.Batch) -> None:
            self.seen.append(batch.y)
            stage.update(nn.functional.cross_entropy(stage.module(batch.images), teacher.labels(batch.images)))

        yield self.stage(run, student, step)


@rc.component
class Peeking(Blind):
    """Declares that it reads inputs and reads labels."""

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        yield self.stage(run, student, supervised)


@rc.component
class Failing(rc.Training, rc.StudentStrategy):
    """Breaks down in its first step."""

    access = rc.Access.NONE

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: rc.Batch) -> None:
            raise ZeroDivisionError

        yield self.stage(run, student, step)


@rc.component
class Greedy(rc.Training, rc.StudentStrategy):
    """Declares nothing and asks for logits."""

    access = rc.Access.NONE

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        teacher.logits(run.example)
        yield self.stage(run, student, supervised)


def test_a_student_that_declared_inputs_never_sees_a_label(announce: Announce) -> None:
    announce(Blind, "blind")
    Blind.seen.clear()
    report = run(student="blind:epochs=1", access="hard")
    assert len(Blind.seen) == 1 + -(-TRAINING_IMAGES // 64)
    assert all(label is None for label in Blind.seen)
    assert report.queries.images == TRAINING_IMAGES


def test_reading_labels_without_declaring_it_fails(announce: Announce) -> None:
    announce(Peeking, "peeking")
    with pytest.raises(AssertionError, match=r"did not declare `data = Data\.LABELLED`"):
        run(student="peeking:epochs=1", access="hard")


def test_a_phase_that_reads_inputs_is_blind_also_beside_one_that_reads_labels(announce: Announce) -> None:
    announce(Blind, "blind")
    Blind.seen.clear()
    run(student=["plain:epochs=1", "blind:epochs=1"])
    assert all(label is None for label in Blind.seen)


def test_asking_for_more_than_the_owner_grants_is_denied(announce: Announce) -> None:
    announce(Greedy, "greedy")
    with pytest.raises(rc.AccessDenied, match="grants labels, not logits"):
        run(student="greedy:epochs=1", access="hard")


def test_a_budget_ends_the_run_before_it_is_exceeded() -> None:
    with pytest.raises(rc.RcframeError, match="the query budget leaves 1000"):
        run(student="kd:epochs=1", budget=1000)
    with pytest.raises(rc.RcframeError, match="query budget of 1000 images is used up: 960 were asked"):
        run(data="digits:augment=crop", student="kd:epochs=1", budget=1000)
    assert run(student="kd:epochs=1", budget=TRAINING_IMAGES).queries.images == TRAINING_IMAGES


def broken(
    announce: Announce, monitor: Monitor, folder: Callable[[Session], RunFolder | None] = lambda session: None
) -> None:
    announce(Failing, "failing")
    session = prepare_session(make_config({**TINY, "student": "failing:epochs=1"}), "test")
    with pytest.raises(ZeroDivisionError):
        carry_out(session, monitor, folder(session))


def test_a_run_that_fails_keeps_what_was_finished(announce: Announce, tmp_path: Path) -> None:
    handlers = list(logging.getLogger("rcframe").handlers)
    broken(announce, Monitor(), lambda session: create_folder(tmp_path / "out", session))
    assert visible(tmp_path / "out") == [
        *("log.txt", "metrics.jsonl", "progress", "run.toml", "teacher.safetensors", "work.json")
    ]
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 1
    assert equal(weights(tmp_path / "out", "teacher"), watched()[0].ends["teacher/train"])
    assert logging.getLogger("rcframe").handlers == handlers


def test_a_run_that_fails_closes_its_display(announce: Announce) -> None:
    monitor = Starts()
    broken(announce, monitor)
    assert monitor.was_closed


def test_finished_networks_evaluate_take_no_gradients_and_have_none() -> None:
    seen: list[nn.Module] = []

    class Watch(Monitor):
        def stage_started(self, stage: Stage) -> None:
            seen.append(stage.target)

        def measuring(self, what: str, images: int) -> None:
            for network in seen:
                assert not any(part.training for part in network.modules())
                assert not any(parameter.requires_grad for parameter in network.parameters())

    settings = {**TINY, "model": "digitnet:width=0.25", "student": "kd:epochs=1"}
    carry_out(prepare_session(make_config(settings), "test"), Watch(), None)
    assert len(seen) == 2


def test_an_attack_gives_equal_numbers_however_it_is_spelled() -> None:
    specs = ["pgd:steps=1", "rcframe-attacks/pgd:steps=1", "pgd:steps=1,restarts=1"]
    attacked = run(attack=specs, eps=0.1).student.attacked
    assert [attacked[spec].result for spec in specs] == [attacked[specs[0]].result] * 3


class Shared:
    """A model function that hands out one and the same module."""

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def one_module() -> nn.Module:
    return Shared.module


class Opaque(nn.Module):
    """Passes no gradient on to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x.detach().flatten(1))
        return out.detach() if not self.training else out


def test_a_teacher_that_is_the_student_is_refused_at_once(own_module: str) -> None:
    with pytest.raises(rc.RequestError, match="Teacher and student are one module"):
        run(model=f"python:{own_module}:one_module")


def test_a_model_without_input_gradients_is_refused_for_attacks_that_need_them(own_module: str) -> None:
    with pytest.raises(rc.RequestError, match="no gradient leads from its outputs back to the image"):
        run(model=f"python:{own_module}:Opaque", attack="fgsm")


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> str:
    """This file as a module of the user's."""
    name = "own_models_of_a_user"
    monkeypatch.setitem(sys.modules, name, sys.modules[__name__])
    return name


def test_the_report_and_its_table_name_the_pruners() -> None:
    report = run(pruner=["filters:ratio=0.25,finetune=0", "filters:ratio=0.5,finetune=0"])
    assert report.student.pruners == ("filters:ratio=0.25,finetune=0", "filters:ratio=0.5,finetune=0")
    assert report.teacher.pruners == ()
    assert report.as_json()["student"]["pruners"] == list(report.student.pruners)  # type: ignore[index]


@rc.component
class MasksAnyStudent(rc.Pruner):
    """Hangs masks on every stage of the student, whatever surgery made of it."""

    def rewrite(self, plan: rc.StudentPlan, student: nn.Module, run: rc.Run) -> Iterator[Stage]:
        for stage in plan(student):
            if run.is_student(stage.target):
                stage.observers.append(rc.Masks(rc.keep_largest(rc.prunable(stage.target), 0.2)))
            yield stage


def test_a_pruner_behind_surgery_still_knows_the_student(announce: Announce) -> None:
    announce(MasksAnyStudent, "masks-any")
    size = run(pruner=["filters:ratio=0.5,finetune=1", "masks-any"]).student.size
    assert size.parameters < 600
    assert size.nonzero < 0.35 * size.parameters


class Listener(Monitor):
    """Remembers what it was told, and when the first stage began."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def stage_started(self, stage: Stage) -> None:
        self.heard.append(stage.name)

    def said(self, text: str) -> None:
        self.heard.append(text)


def test_a_radius_of_training_that_is_not_measured_is_told_first_and_once() -> None:
    settings = {**TINY, "attack": "fgsm", "eps": 0.2, "student": "plain:epochs=1,attack=fgsm,attack_eps=0.1"}
    listener = Listener()
    carry_out(prepare_session(make_config(settings), "test"), listener, None)
    assert listener.heard[0].startswith("Student `plain` is trained on images attacked in linf at 0.1, but measured")
    assert sum("but measured" in text for text in listener.heard) == 1

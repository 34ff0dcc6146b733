from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import torch
from rcframe_ensemble.network import EnsembleNetwork
from rcframe_ensemble.teacher import EnsembleTeacher
from torch import Generator, Tensor, nn

import rcframe as rc
from rcframe import (
    Access,
    Architecture,
    Distillation,
    GuardedTeacher,
    ModelOracle,
    RequestError,
    Run,
    Stage,
    Teacher,
    component,
    supervised,
)
from rcframe.builtins.plain import PlainTeacher
from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.prepare import prepare
from rcframe.networks.weights import read_architecture, read_weights
from rcframe.storage.state_file import digest_state
from rcframe.testing.toys import CLASSES, SHAPE, fingerprint, some_images, toy_dataset, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

QUICK = "plain:epochs=2,batch_size=16"


class Recorder(Monitor):
    """Keeps the stages."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def stage_started(self, stage: Stage) -> None:
        self.stages.append(stage)


def train(teacher: EnsembleTeacher, run: Run) -> tuple[EnsembleNetwork, list[Stage]]:
    recorder = Recorder()
    network = execute(teacher.plan(teacher.network(run), run), recorder)
    assert isinstance(network, EnsembleNetwork)
    return network.eval(), recorder.stages


def accuracy_of(network: nn.Module, data: rc.Dataset) -> float:
    batch = data.test.first(1000)
    with torch.no_grad():
        return float((network(batch.images).argmax(1) == batch.labels).float().mean())


# --- training --------------------------------------------------------------------------------------------------------


def test_every_member_is_trained_as_the_inner_teacher_would_with_a_seed_of_its_own() -> None:
    network, stages = train(EnsembleTeacher(teacher=QUICK, members=3), toy_run("teacher"))
    assert [stage.name for stage in stages] == ["teacher/train", "teacher/train-2", "teacher/train-3"]
    run = toy_run("teacher")
    for number, member in enumerate(network.members, start=1):
        own = run.member(f"member-{number}")
        alone = own.network("teacher")
        execute(PlainTeacher(epochs=2, batch_size=16).plan(alone, own), Monitor())
        assert fingerprint(alone) == fingerprint(member), f"member {number}"


def test_members_differ_in_their_first_weights_and_in_the_order_of_their_images() -> None:
    network, stages = train(EnsembleTeacher(teacher="plain:epochs=0", members=3), toy_run("teacher"))
    assert len({fingerprint(member) for member in network.members}) == 3
    orders = {tuple(next(iter(stage.batches.epoch(0))).labels.tolist()) for stage in stages}
    assert len(orders) == 3


def test_an_ensemble_shares_no_member_with_that_of_another_seed() -> None:
    first, second = (
        train(EnsembleTeacher(teacher="plain:epochs=0"), toy_run("teacher", seed=seed))[0].members for seed in (0, 1)
    )
    assert not {fingerprint(member) for member in first} & {fingerprint(member) for member in second}


@component
class Replacing(PlainTeacher):
    """Leaves another network than the one it was given."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        yield self.stage(run, copy.deepcopy(network), supervised)


@component
class OfReplaced(EnsembleTeacher):
    """An ensemble of what `Replacing` leaves."""

    @functools.cached_property
    def inner(self) -> Teacher:
        return Replacing(epochs=1)


def test_a_member_is_what_its_training_leaves() -> None:
    network, stages = train(OfReplaced(members=2), toy_run("teacher"))
    assert [fingerprint(member) for member in network.members] == [fingerprint(stage.target) for stage in stages]


def test_each_member_is_judged_alone_by_the_validation_images() -> None:
    run = toy_run("teacher", dataset=toy_dataset(validation=30))
    inner = "plain:epochs=6,patience=6,batch_size=16,lr=0.005"
    network, stages = train(EnsembleTeacher(teacher=inner, members=2), run)
    judged = run.data.validation
    assert judged is not None
    batch = judged.first(30)
    for member, stage in zip(network.members, stages, strict=True):
        right = (member(batch.images).argmax(dim=1) == batch.labels).float().mean()
        assert max(epoch["validation"] for epoch in stage.history) == pytest.approx(float(right))


def test_members_may_be_pupils() -> None:
    inner = f"distilled:teacher=({QUICK}),student=(plain:epochs=1,batch_size=16)"
    network, stages = train(EnsembleTeacher(teacher=inner, members=2), toy_run("teacher"))
    assert len(stages) == 4
    assert [stage.target for stage in stages[1::2]] == list(network.members)


def test_members_take_models_in_turn() -> None:
    ensemble = EnsembleTeacher(teacher=QUICK, models="mlp:hidden=4;convnet:channels=2+2", members=3)
    network, _ = train(ensemble, toy_run("teacher"))
    assert ["conv1" in str(member) for member in network.members] == [False, True, False]


def test_a_student_learns_from_all_of_them_by_one_query_per_image() -> None:
    @component
    class Imitation(Distillation):
        """Learns from the teacher's top answers."""

        access = Access.LOGITS

        def plan(self, student: nn.Module, teacher: rc.Oracle, run: Run) -> Iterator[Stage]:
            answers = self.answers(run, teacher)

            def step(stage: Stage, batch: rc.Batch) -> None:
                loss = rc.kl_divergence(answers.logits(batch), stage.module(batch.images), 1.0)
                stage.update(loss)

            yield self.stage(run, student, step, players={"answers": answers})

    network, _ = train(EnsembleTeacher(teacher="plain:epochs=10,lr=5e-3,batch_size=16"), toy_run("teacher"))
    oracle, run = ModelOracle(rc.freeze(network), Access.LOGIT), toy_run("student")
    student = run.network("student")
    execute(Imitation(epochs=12, batch_size=16, lr=5e-3).plan(student, oracle, run), Monitor())
    x, y = some_images(24)
    assert (student(x).argmax(1) == y).float().mean() >= 0.9
    assert oracle.queries.images == 64


@pytest.mark.slow
def test_three_networks_are_at_least_as_accurate_as_one_of_them_on_average(tmp_path: Path) -> None:
    gains = []
    for seed in range(3):
        data = prepare(Digits(), tmp_path, seed=seed)
        run = attrs.evolve(
            toy_run("teacher", seed=seed), dataset=data, model=parse_choice("digitnet:channels=4,hidden=", "model")
        )
        network, _ = train(EnsembleTeacher(teacher="plain:epochs=3", members=3), run)
        alone = [accuracy_of(member, data) for member in network.members]
        gains.append(accuracy_of(network, data) - sum(alone) / 3)
    assert min(gains) >= 0, gains
    assert sum(gains) > 0


# --- description, saving, refusals -----------------------------------------------------------------------------------

MODEL = Architecture("mlp:hidden=4", None, SHAPE, CLASSES)


@pytest.mark.parametrize("models", [None, "mlp:hidden=4", "mlp:hidden=4;convnet:channels=2"])
def test_what_is_saved_builds_the_network_that_was_trained(models: str | None) -> None:
    run = attrs.evolve(toy_run("teacher"), model=parse_choice("mlp:hidden=4", "model"))
    teacher = EnsembleTeacher(models=models, members=3, average="probabilities")
    described = teacher.becomes(MODEL)
    again, network = rc.model(described.model).build(run.info), teacher.network(run)
    assert isinstance(again, EnsembleNetwork)
    assert again.average == "probabilities"
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (again, network)]
    assert shapes[0] == shapes[1]
    if models:
        assert "width=" in described.model, "later defaults would change it"


def run_tiny(model: str, teacher: str, student_model: str, out: Path) -> rc.Report:
    return rc.run(
        data="glyphs:size=8,classes=3,train=60,test=12,extra=0",
        model=model,
        teacher=teacher,
        student_model=student_model,
        student="plain:epochs=1",
        eps=0.1,
        out=out,
    )


def test_a_run_saves_an_ensemble_that_later_runs_can_use(tmp_path: Path) -> None:
    first = run_tiny("mlp:hidden=6", f"ensemble:members=2,teacher=({QUICK})", "mlp", tmp_path / "first")
    file = tmp_path / "first" / "teacher.safetensors"
    described = read_architecture(file)
    assert described.model.startswith("ensemble:models=(mlp:")
    assert {name.split(".")[1] for name in read_weights(file)} == {"0", "1"}
    second = run_tiny(described.model, f"file:{file}", "mlp", tmp_path / "second")
    assert second.teacher.clean == first.teacher.clean
    assert second.teacher.size == first.teacher.size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher": "ensemble"}, "cannot be ensembles"),
        ({"teacher": "file:a.safetensors"}, "would be the same network"),
        ({"teacher": "plane"}, "No teacher named `plane`"),
        ({"models": "mlp;;mlp"}, "where one is empty"),
        ({"models": "mlp;convnet", "members": 1}, "of 1 members has 2 models"),
    ],
)
def test_what_makes_no_ensemble_is_refused(options: dict[str, str | int], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        rc.teacher("ensemble", **options)


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("plain:fraction=0.01", "training needs two or more"),
        ("plain:patience=2", "validation"),
        ("plain:attack=nix", "nix"),
    ],
)
def test_what_the_inner_teacher_cannot_do_is_refused_before_anything_is_trained(inner: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        EnsembleTeacher(teacher=inner).network(toy_run("teacher"))


@component
class Rounding(GuardedTeacher):
    """Answers in whole numbers."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits.round()


def test_a_defence_stands_around_an_ensemble() -> None:
    guarded = Rounding(teacher="ensemble:members=2")
    assert guarded.becomes(MODEL) == EnsembleTeacher(members=2).becomes(MODEL)
    assert isinstance(guarded.network(toy_run("teacher")), EnsembleNetwork)


def test_a_pupil_of_an_ensemble_learns_from_all_of_it() -> None:
    spec = f"ensemble:members=2,teacher=({QUICK})"
    network, _ = train(EnsembleTeacher(members=2, teacher=QUICK), toy_run("teacher"))
    pupil, run, recorder = (
        rc.teacher("distilled", teacher=spec, student="plain:epochs=0"),
        toy_run("teacher"),
        Recorder(),
    )
    execute(pupil.plan(pupil.network(run), run), recorder)
    whole = digest_state({"layers": str(network), "weights": network.state_dict()})
    assert recorder.stages[-1].determined_by["first teacher"] == whole


def test_its_parts_are_all_it_is_made_of() -> None:
    ensemble = EnsembleTeacher(models="mlp:hidden=4;convnet", members=2)
    assert [type(part).__name__ for part in ensemble.parts()] == ["PlainTeacher", "Mlp", "ConvNet"]

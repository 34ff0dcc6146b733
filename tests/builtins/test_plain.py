from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Data
from rcframe.builtins import SPECS
from rcframe.builtins.plain import PlainStudent, PlainTeacher
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import ModelOracle, Queries
from rcframe.testing import Check, checks_of
from rcframe.testing.toys import fingerprint, some_images, toy_run
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

PLAIN = [check for check in checks_of("rcframe") if check.title.endswith(" plain")]
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 5e-3}


@pytest.mark.parametrize("check", PLAIN, ids=str)
def test_plain_training_keeps_the_promises_that_plugins_make(check: Check) -> None:
    check()


def test_there_are_promises_to_keep() -> None:
    assert {check.title.split()[0] for check in PLAIN} == {"teacher", "student"}
    assert len(PLAIN) > 12


def test_the_kernel_ships_no_method_of_a_paper() -> None:
    methods = {(spec.kind, spec.name) for spec in SPECS if spec.kind not in ("data", "model", "engine")}
    assert methods == {*(("teacher", name) for name in ("plain", "file", "run", "distilled")), ("student", "plain")}


SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 128, "schedule": "steps"}
LONG = {**SGD, "epochs": 200, "milestones": (60, 120, 160), "decay": 0.2}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cifar10", {**SGD, "epochs": 160, "milestones": (80, 120), "decay": 0.1}),
        ("cifar100", LONG),
        ("tiny-imagenet", LONG),
    ],
)
def test_presets_are_the_customary_settings_of_a_data_set(preset: str, expected: dict[str, Any]) -> None:
    assert rc.teacher(f"plain:preset={preset}") == PlainTeacher(**expected)
    assert rc.student(f"plain:preset={preset},epochs=3") == PlainStudent(**{**expected, "epochs": 3})


def test_a_plain_teacher_is_one_supervised_stage_of_the_runs_network() -> None:
    teacher, run = PlainTeacher(**OPTIONS), toy_run("teacher")
    network = teacher.network(run)
    (stage,) = teacher.plan(network, run)
    assert (stage.name, stage.epochs, stage.target, stage.step) == ("teacher/train", 3, network, supervised)
    assert fingerprint(network) == fingerprint(toy_run("teacher").network("teacher"))


def test_a_plain_student_learns_without_asking_its_teacher() -> None:
    run, oracle = toy_run("student"), ModelOracle(nn.Identity(), Access.NONE)
    student = run.network("student")
    x, y = some_images()
    before = int((predict(student, x) == y).sum())
    execute(PlainStudent(epochs=12, batch_size=16, lr=5e-3).plan(student, oracle, run), Monitor())
    assert oracle.queries == Queries()
    assert (PlainStudent.access, PlainStudent.data) == (Access.NONE, Data.LABELLED)
    assert int((predict(student, x) == y).sum()) == 12 > before


def test_a_plain_student_is_trained_like_a_plain_teacher() -> None:
    plans: list[Callable[[nn.Module, Run], Iterator[Stage]]] = [
        lambda network, run: PlainTeacher(**OPTIONS).plan(network, run),
        lambda network, run: PlainStudent(**OPTIONS).plan(network, ModelOracle(nn.Identity(), Access.NONE), run),
        lambda network, run: iter([Training(**OPTIONS).stage(run, network, supervised)]),
    ]
    trained: list[str] = []
    for plan in plans:
        run = toy_run("student")
        torch.manual_seed(len(trained))
        trained.append(fingerprint(execute(plan(run.network("same"), run), Monitor()) or nn.Identity()))
    assert len(set(trained)) == 1

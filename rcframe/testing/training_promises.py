"""Promises of teachers and student strategies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from rcframe.access import Access, describe_access
from rcframe.api import Pruner, StudentStrategy, Teacher
from rcframe.errors import AccessDenied
from rcframe.evaluation.oracle import ModelOracle
from rcframe.testing.subject import Subject
from rcframe.testing.toys import CLASSES, fingerprint, some_images, toy_run, trained_network
from rcframe.training.loop import execute, train
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage, snapshot
from rcframe.training.steps import supervised

#: Builds a plan and the network it trains, always from the same start.
Planner = Callable[[], tuple[nn.Module, Iterator[Stage]]]


def _teacher_planner(subject: Subject) -> Planner:
    def fresh() -> tuple[nn.Module, Iterator[Stage]]:
        component, run = cast(Teacher, subject.make()), toy_run("teacher")
        network = component.network(run)
        return network, component.plan(network, run)

    return fresh


def _student_planner(subject: Subject) -> Planner:
    teacher = trained_network()

    def fresh() -> tuple[nn.Module, Iterator[Stage]]:
        component = cast(StudentStrategy, subject.make())
        run = toy_run("student", component.data)
        student = run.network("student")
        return student, component.plan(student, ModelOracle(teacher, component.access), run)

    return fresh


def check_teacher_trains(subject: Subject) -> None:
    """The plan ends with a network that tells the classes apart and has moved."""
    _check_trains(_teacher_planner(subject))


def check_teacher_repeats(subject: Subject) -> None:
    """Equal seeds give equal weights."""
    _check_repeats(_teacher_planner(subject))


def check_teacher_resumes(subject: Subject) -> None:
    """A stage that is stopped, saved and loaded ends as if it had never stopped."""
    _check_resumes(_teacher_planner(subject))


def check_student_trains(subject: Subject) -> None:
    """At its declared access and data, the plan trains the student it was given."""
    _check_trains(_student_planner(subject))


def check_student_repeats(subject: Subject) -> None:
    """Equal seeds give equal weights."""
    _check_repeats(_student_planner(subject))


def check_student_resumes(subject: Subject) -> None:
    """A stage that is stopped, saved and loaded ends as if it had never stopped."""
    _check_resumes(_student_planner(subject))


def check_pruner_resumes(subject: Subject) -> None:
    """Every stage of a student under the pruner can be stopped, saved and loaded, masks included."""

    def fresh() -> tuple[nn.Module, Iterator[Stage]]:
        pruner, run = cast(Pruner, subject.make()), toy_run("student")
        student = run.adopt(run.network("student"))
        training = Training(epochs=3, batch_size=16)

        def plan(network: nn.Module) -> Iterator[Stage]:
            yield training.stage(run, network, supervised)

        return student, pruner.rewrite(plan, student, run)

    _check_resumes(fresh)


def check_student_keeps_its_forward(subject: Subject) -> None:
    """Training leaves the student the network it was: same weights by name and shape, no hooks."""
    student, plan = _student_planner(subject)()
    before = {name: tensor.shape for name, tensor in student.state_dict().items()}
    execute(plan, Monitor())
    after = {name: tensor.shape for name, tensor in student.state_dict().items()}
    assert after == before, "training changed the names or shapes of the student's weights"
    assert not any(part._forward_hooks for part in student.modules()), "training left hooks on the student"


def check_student_leaves_the_teacher_alone(subject: Subject) -> None:
    """The teacher's weights, statistics and modes are the same afterwards."""
    component = cast(StudentStrategy, subject.make())
    teacher, run = trained_network(), toy_run("student", component.data)
    before = fingerprint(teacher)
    execute(component.plan(run.network("student"), ModelOracle(teacher, component.access), run), Monitor())
    assert fingerprint(teacher) == before, "training the student changed the teacher"


def check_student_needs_what_it_declares(subject: Subject) -> None:
    """Without any one of its declared capabilities the strategy is denied."""
    component = cast(StudentStrategy, subject.make())
    teacher = trained_network(epochs=1)
    for capability in Access:
        if capability not in component.access:
            continue
        run = toy_run("student", component.data)
        oracle = ModelOracle(teacher, component.access & ~capability)
        try:
            execute(component.plan(run.network("student"), oracle, run), Monitor())
        except AccessDenied:
            continue
        raise AssertionError(
            f"it declares {describe_access(capability)} but trains without: "
            f"declare only what it uses, such as `Access.LOGITS`"
        )


def check_student_can_be_observed(subject: Subject) -> None:
    """Masks hung on its stages by a pruner survive its training."""
    student, plan = _student_planner(subject)()
    masks = Masks(keep_largest(prunable(student), 0.5))

    def observed() -> Iterator[Stage]:
        for stage in plan:
            if stage.target is student:
                stage.observers.append(masks)
            yield stage

    execute(observed(), Monitor())
    parameters = dict(student.named_parameters())
    for name, alive in masks.alive.items():
        assert not parameters[name].detach()[~alive].any(), f"masked weights of `{name}` came back"


def _check_trains(fresh: Planner) -> None:
    network, plan = fresh()
    before = parameters_to_vector(network.parameters()).detach().clone()
    trained = execute(plan, Monitor()) or network
    with torch.no_grad():
        outputs = trained(some_images()[0])
    assert outputs.shape == (12, CLASSES), f"outputs have shape {tuple(outputs.shape)}"
    assert bool(torch.isfinite(outputs).all()), "outputs are not finite"
    after = parameters_to_vector(trained.parameters()).detach()
    assert not torch.equal(after, before), "nothing was trained"


def _check_repeats(fresh: Planner) -> None:
    results = []
    for disturbance in (0, 1):
        torch.manual_seed(disturbance)
        network, plan = fresh()
        results.append(fingerprint(execute(plan, Monitor()) or network))
    assert results[0] == results[1], "two runs with one seed differ"


def _check_resumes(fresh: Planner) -> None:
    undisturbed = _weights_after(fresh, stop_after=None)
    resumed = _weights_after(fresh, stop_after=1)
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, resumed[name]), f"after stopping and resuming, `{name}` differs"


def _weights_after(fresh: Planner, stop_after: int | None) -> dict[str, torch.Tensor]:
    """Train a plan; every stage is stopped after some batches and continued by a fresh plan with the saved state."""
    network, plan = fresh()
    finished: list[dict[str, torch.Tensor]] = []
    stage = next(plan, None)
    while stage is not None:
        stage.begin()
        if stop_after is not None:
            stage, plan, network = _interrupted(fresh, stage, stop_after, finished)
        train(stage, Monitor())
        finished.append({name: tensor.clone() for name, tensor in stage.target.state_dict().items()})
        stage = next(plan, None)
    return finished[-1] if finished else network.state_dict()


def _interrupted(
    fresh: Planner, stage: Stage, stop_after: int, finished: list[dict[str, torch.Tensor]]
) -> tuple[Stage, Iterator[Stage], nn.Module]:
    """Train a few batches, then replay the plan up to this stage and load what was saved."""
    _train_some(stage, stop_after)
    saved = snapshot(stage)
    network, plan = fresh()
    replayed = next(plan)
    for weights in finished:
        replayed.target.load_state_dict(weights)
        replayed.target.eval()
        replayed = next(plan)
    torch.manual_seed(12345)
    replayed.begin()
    replayed.load_state_dict(saved)
    return replayed, plan, network


def _train_some(stage: Stage, batches: int) -> None:
    """Train the first epoch and some batches of the second, so that what moves at the end of an epoch has moved."""
    if stage.epochs > 1:
        _step_through(stage, len(stage.batches))
        stage.end_epoch()
    _step_through(stage, min(batches, len(stage.batches) - 1))


def _step_through(stage: Stage, batches: int) -> None:
    stage.target.train()
    stage.module.train()
    for batch in itertools.islice(stage.batches.epoch(stage.epoch), batches):
        stage.step(stage, batch)
        stage.batch += 1

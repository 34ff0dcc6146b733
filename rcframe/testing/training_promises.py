"""Promises of teachers and student strategies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from rcframe.access import Access, describe_access
from rcframe.api import Pruner, StudentStrategy, Teacher
from rcframe.builtins.saved import build_network
from rcframe.errors import AccessDenied
from rcframe.evaluation.oracle import ModelOracle
from rcframe.networks.weights import Architecture
from rcframe.options import changed
from rcframe.storage.keeper import Keeper, Work
from rcframe.storage.tree import flatten, unflatten
from rcframe.testing.subject import Subject
from rcframe.testing.toys import CLASSES, MODEL, SHAPE, fingerprint, some_images, toy_dataset, toy_run, trained_network
from rcframe.training.distillation import Distillation
from rcframe.training.loop import execute
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seed_everything
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
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


def check_student_can_be_built_again(subject: Subject) -> None:
    """What it says it becomes has the layers and sizes of what it leaves."""
    component = cast(StudentStrategy, subject.make())
    run = toy_run("student", component.data)
    student = run.network("student")
    left = execute(component.plan(student, ModelOracle(trained_network(), component.access), run), Monitor())
    built = build_network(component.becomes(Architecture(MODEL, None, SHAPE, CLASSES)), run, "again")
    found, described = (
        {name: tensor.shape for name, tensor in network.state_dict().items()} for network in (left or student, built)
    )
    assert found == described, "it leaves another network than `becomes` describes, which could not be loaded again"


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


def check_student_reads_no_labels_elsewhere(subject: Subject) -> None:
    """On extra images, and on training images among them, a student of a teacher's answers trains without labels."""
    made = subject.make()
    if not isinstance(made, Distillation):
        return
    teacher = trained_network()
    for images in ("extra", "both"):
        component = changed(made, images=images)

        def fresh(component: Distillation = component) -> tuple[nn.Module, Iterator[Stage]]:
            run = toy_run("student", component.data, dataset=toy_dataset(extra=32))
            student = run.network("student")
            return student, component.plan(student, ModelOracle(teacher, component.access), run)

        _check_trains(fresh)


def check_student_asks_no_more_when_it_goes_on(subject: Subject) -> None:
    """A student that is stopped and goes on has asked its teacher for as many images as one that was never stopped."""
    asked, stopped = (_asked(subject, keeper) for keeper in (Keeper(), _Stopping()))
    assert stopped == asked, (
        f"it asked for {asked} images, and for {stopped} after stopping and resuming: make its `Answers` a player of "
        f"the stage, and ask in steps only"
    )


def _asked(subject: Subject, keeper: Keeper) -> int:
    """Count the images that a student asks its teacher for."""
    component, teacher = cast(StudentStrategy, subject.make()), trained_network()
    oracles: list[ModelOracle] = []

    def counted(plan: Iterator[Stage], oracle: ModelOracle) -> Iterator[Stage]:
        for stage in plan:
            stage.players["queries"] = oracle.queries
            yield stage

    def fresh() -> tuple[nn.Module, Iterator[Stage]]:
        run = toy_run("student", component.data)
        student, oracle = run.network("student"), ModelOracle(teacher, component.access)
        oracles.append(oracle)
        return student, counted(component.plan(student, oracle, run), oracle)

    _trained(fresh, keeper)
    return oracles[-1].queries.images


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
    undisturbed = _trained(fresh, Keeper())
    resumed = _trained(fresh, _Stopping())
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, resumed[name]), f"after stopping and resuming, `{name}` differs"


class _Stopped(Exception):
    """The process that trained is gone."""


class _Stopping(Keeper):
    """Keeps stages as files would, and stops each of them once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, list[Tensor]]] = {}
        self._finished: set[str] = set()

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        """Put `work` where it was left; the value says whether it is finished. At the end, keep the result."""
        if work.name in self._kept:
            plain, tensors = self._kept[work.name]
            work.load_state_dict(cast("Mapping[str, object]", unflatten(json.loads(plain), tensors)))
        finished = work.name in self._finished
        yield finished
        if not finished:
            self._keep(work.name, work.final_state())
            self._finished.add(work.name)

    def progressed(self, work: Work) -> None:
        """Stop in the second epoch, if there is one, so that what moves at the end of an epoch has moved."""
        assert isinstance(work, Stage)
        if work.name not in self._kept and work.epoch == min(1, work.epochs - 1):
            self._keep(work.name, work.state_dict())
            raise _Stopped

    def _keep(self, name: str, state: Mapping[str, object]) -> None:
        plain, tensors = flatten(state)
        self._kept[name] = json.dumps(plain), [tensor.clone() for tensor in tensors]


def _trained(fresh: Planner, keeper: Keeper) -> dict[str, Tensor]:
    """Return the weights that a plan ends with; as long as it is stopped, a fresh one goes on with what was kept."""
    while True:
        # As in a run: a plan that draws without a seed of its own breaks another promise than this one.
        seed_everything(0, "plan")
        network, plan = fresh()
        try:
            return (execute(plan, Monitor(), keeper) or network).state_dict()
        except _Stopped:
            continue

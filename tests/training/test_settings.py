from __future__ import annotations

import pytest
import torch
from torch import nn

from rcframe.api import Data
from rcframe.data.batches import Batches, NoData
from rcframe.errors import RequestError
from rcframe.options import build
from rcframe.testing.toys import toy_run
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


class Leaky(nn.Module):
    """A layer with a scalar, such as the leak of a neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
        self.leak = nn.Parameter(torch.tensor(0.5))


def begun(training: Training, target: nn.Module | None = None) -> Stage:
    stage = training.stage(toy_run("student"), nn.Linear(2, 2) if target is None else target, supervised)
    stage.begin()
    return stage


def groups(stage: Stage, *names: str) -> list[list[float]]:
    assert stage.optimizer is not None
    return [[group[name] for name in names] for group in stage.optimizer.param_groups]


def test_adam_gets_its_options() -> None:
    stage = begun(Training(lr=0.3, weight_decay=0.2))
    assert type(stage.optimizer) is torch.optim.Adam
    assert groups(stage, "lr", "weight_decay") == [[0.3, 0.2]]


def test_sgd_gets_its_options() -> None:
    stage = begun(Training(optimizer="sgd", lr=0.3, momentum=0.7, weight_decay=0.2))
    assert type(stage.optimizer) is torch.optim.SGD
    assert groups(stage, "lr", "momentum", "weight_decay", "nesterov") == [[0.3, 0.7, 0.2, False]]


@pytest.mark.parametrize("training", [Training(weight_decay=0.2), Training(optimizer="sgd", weight_decay=0.2)])
def test_scalars_are_trained_but_never_decayed(training: Training) -> None:
    target = Leaky()
    stage = begun(training, target)
    stage.update(0 * target.weight.sum() + 0 * target.leak)
    assert float(target.weight.detach().max()) < 1
    assert float(target.leak.detach()) == 0.5
    stage.update(target.leak)
    assert float(target.leak.detach()) < 0.5


def test_a_constant_rate_needs_no_schedule() -> None:
    assert begun(Training()).schedule is None
    assert begun(Training(schedule="cosine")).schedule is not None


def test_a_stage_is_what_its_arguments_say() -> None:
    run, target, module, observer = toy_run("student", seed=5), nn.Linear(2, 2), nn.Linear(3, 3), Observer()
    own, players = NoData(7), {"rival": nn.Linear(1, 1)}
    stage = Training(epochs=4).stage(
        run,
        target,
        supervised,
        name="warm-up",
        module=module,
        epochs=9,
        batches=own,
        observers=[observer],
        players={**players},
    )
    assert (stage.name, stage.epochs, stage.seed) == ("student/warm-up", 9, 5)
    assert stage.target is target
    assert stage.module is module
    assert stage.batches is own
    assert stage.observers == [observer]
    assert stage.players == players


def test_a_stage_trains_its_target_on_the_runs_images_unless_told_otherwise() -> None:
    run, target = toy_run("student"), nn.Linear(2, 2)
    stage = Training(epochs=4, batch_size=10).stage(run, target, supervised)
    assert stage.module is target
    assert stage.epochs == 4
    assert isinstance(stage.batches, Batches)
    assert stage.batches.size == 10
    assert len(stage.batches) == 7
    assert isinstance(Training().stage(toy_run("student", Data.NONE), target, supervised).batches, NoData)


def test_no_epoch_can_be_asked_for_on_purpose() -> None:
    assert Training(epochs=4).stage(toy_run("student"), nn.Linear(2, 2), supervised, epochs=0).epochs == 0


def test_names_and_orders_of_stages_differ_within_a_run() -> None:
    run = toy_run("student")
    stages = [Training().stage(run, nn.Linear(2, 2), supervised) for _ in range(3)]
    assert [stage.name for stage in stages] == ["student/train", "student/train-2", "student/train-3"]
    firsts = [next(stage.batches.epoch(0)).labels.tolist() for stage in stages]
    assert firsts[0] != firsts[1] != firsts[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", "-1"),
        ("batch_size", "0"),
        ("lr", "0"),
        ("momentum", "1.5"),
        ("weight_decay", "-1"),
        ("milestones", "3+-1"),
        ("decay", "2"),
        ("optimizer", "lbfgs"),
        ("schedule", "random"),
    ],
)
def test_senseless_options_are_refused(option: str, value: str) -> None:
    with pytest.raises(RequestError, match=f"`{option}`"):
        build(Training, {option: value}, "training")

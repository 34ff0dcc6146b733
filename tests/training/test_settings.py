from __future__ import annotations

import pytest
import torch
from torch import nn

from rcframe.api import Data
from rcframe.data.batches import Batches, NoData
from rcframe.errors import RequestError
from rcframe.evaluation.threat import Threat
from rcframe.options import build, values_of
from rcframe.testing.toys import toy_run
from rcframe.training.attacked import InnerAttack
from rcframe.training.observer import Observer
from rcframe.training.settings import Optimization, Training
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
        ("attack_eps", "-0.1"),
        ("attack_norm", "l1"),
        ("attack_mode", "both"),
    ],
)
def test_senseless_options_are_refused(option: str, value: str) -> None:
    with pytest.raises(RequestError, match=f"`{option}`"):
        build(Training, {option: value}, "training")


# -- on attacked images


def inner(training: Training, level: Data = Data.LABELLED) -> InnerAttack:
    prepared = training.stage(toy_run("student", level), nn.Linear(2, 2), supervised).prepare
    assert isinstance(prepared, InnerAttack)
    return prepared


def test_images_are_attacked_only_if_that_is_asked() -> None:
    assert Training().stage(toy_run("student"), nn.Linear(2, 2), supervised).prepare is None
    assert Training().parts() == ()
    assert Optimization().stage(toy_run("student"), nn.Linear(2, 2), supervised).prepare is None


def test_an_attack_is_what_the_options_say() -> None:
    options = {
        "attack": "pgd:steps=3,early_stop=true",
        "attack_eps": "1/4",
        "attack_norm": "l2",
        "attack_mode": "train",
    }
    training, target, run = build(Training, options, "training"), nn.Linear(2, 2), toy_run("student")
    found = training.stage(run, target, supervised).prepare
    assert isinstance(found, InnerAttack)
    assert found.network is target
    assert (found.mode, found.threat) == ("train", Threat(0.25, "l2"))
    assert values_of(found.attack)["steps"] == 3
    assert found.attack == found.attack.thorough()
    assert any(name.startswith("uses attack pgd") for name in run.made)
    assert [type(part) for part in training.parts()] == [type(found.attack)]


def test_the_customary_radius_is_that_of_the_data() -> None:
    assert inner(Training(attack="fgsm")).threat == Threat(toy_run("student").info.eps)
    assert inner(Training(attack="fgsm"), Data.INPUTS).threat == Threat(toy_run("student").info.eps)


def test_helpers_are_trained_without_the_attack_and_alike_otherwise() -> None:
    training = Training(attack="fgsm", attack_eps=0.5, lr=0.5, milestones=(3, 4))
    assert values_of(training.unattacked()) == {**values_of(training), "attack": None}
    assert training.unattacked().stage(toy_run("student"), nn.Linear(2, 2), supervised).prepare is None


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        (Training(attack="nothing-like-it"), "No attack named `nothing-like-it`"),
        (Training(attack="pgd:stepz=3"), "has no option `stepz`. Did you mean `steps`"),
        (Training(attack="fgsm", attack_norm="l2", attack_eps=1.0), "`fgsm` works in linf, not in l2"),
        (Training(attack="transfer:source=teacher,attack=fgsm"), "crafted on another network"),
        (Training(attack="pgd", attack_norm="l2"), "no radius in l2.*set `attack_eps`"),
        (Training(attack="pgd", attack_eps=8.0), "eps is 8.0.*write 8/255"),
    ],
)
def test_attacks_that_make_no_sense_in_training_are_refused(training: Training, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        training.inner_attack()
    with pytest.raises(RequestError, match=reason):
        training.stage(toy_run("student"), nn.Linear(2, 2), supervised)


def test_what_reads_no_images_cannot_be_trained_on_attacked_ones() -> None:
    with pytest.raises(RequestError, match=r"`fgsm` has nothing to attack.*leave out the option `attack`"):
        Training(attack="fgsm").stage(toy_run("student", Data.NONE), nn.Linear(2, 2), supervised)

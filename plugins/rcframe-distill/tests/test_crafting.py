from __future__ import annotations

import attrs
import pytest
import torch
from rcframe_distill.adversarial import AdversarialDistill
from rcframe_distill.ard import ARD
from rcframe_distill.crafting import Crafting, away_from
from rcframe_distill.rslad import RSLAD
from torch import Tensor, nn

from rcframe import Climb, Data, ModelOracle, RequestError, Run, Stage
from rcframe.testing.toys import CLASSES, fingerprint, some_images, toy_dataset, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

#: An attack of the shipped plugins, in the place of the methods' own steps.
GIVEN = "pgd:steps=2"
EPS = 0.07


def crafting(cls: type[Crafting], **options: object) -> Crafting:
    quick = {"epochs": 3, "batch_size": 16, "steps": 2, "attack_eps": EPS}
    return cls(**{**quick, **options})  # type: ignore[arg-type]


METHODS: list[type[Crafting]] = [AdversarialDistill, ARD, RSLAD]
#: Everything that crafts, by its own steps and by somebody else's.
CRAFTING = [crafting(cls, **given) for cls in METHODS for given in ({}, {"attack": GIVEN}, {"attack_mode": "train"})]


def run_for(strategy: Crafting) -> Run:
    return toy_run("student", strategy.data)


class Spy(nn.Module):
    """Keeps what it is shown, in training mode and in evaluation mode apart."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.trained_on: list[Tensor] = []
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        (self.trained_on if self.training else self.asked).append(x.detach().clone())
        output: Tensor = self.net(x)
        return output


def nearest(x: Tensor, images: Tensor) -> Tensor:
    """How far in linf every row of `x` is from the nearest of `images`."""
    return torch.cdist(x.flatten(1).double(), images.flatten(1).double(), p=torch.inf).amin(1)


@pytest.mark.parametrize("strategy", [each for each in CRAFTING if each.attack_mode == "eval"], ids=repr)
def test_every_image_that_is_learned_from_is_in_the_ball_around_one_of_the_data_in_every_epoch(
    strategy: Crafting, teacher: nn.Module, normed: nn.Module
) -> None:
    run, spied, student = run_for(strategy), Spy(teacher).eval(), Spy(normed)
    images = run.data.train.first(64).images
    execute(strategy.plan(student, ModelOracle(spied, type(strategy).access), run), Monitor())
    learned = torch.cat(student.trained_on)
    moved = nearest(learned, images)
    assert len(learned) >= 3 * 64
    assert float(moved.max()) <= EPS + 1e-6, "the perturbation compounds"
    assert float(moved.max()) > EPS / 2, "nothing was crafted"
    assert 0 <= float(learned.min()) <= float(learned.max()) <= 1
    # The teacher is shown every image once, as it is.
    assert torch.equal(torch.cat(spied.asked), images)


@pytest.mark.parametrize("strategy", CRAFTING, ids=repr)
def test_crafting_leaves_the_student_as_it_is(strategy: Crafting, normed: nn.Module) -> None:
    x, y = some_images()
    inner = strategy.crafting(run_for(strategy), normed)
    before = fingerprint(normed)
    assert not torch.equal(inner.craft(x, y), x)
    assert fingerprint(normed) == before
    assert all(parameter.grad is None for parameter in normed.parameters())


@pytest.mark.parametrize("cls", METHODS)
def test_the_mode_of_the_crafting_is_the_one_asked_for(cls: type[Crafting], normed: nn.Module) -> None:
    for mode in ("eval", "train"):
        student = Spy(normed).train()
        strategy = crafting(cls, attack_mode=mode)
        strategy.crafting(run_for(strategy), student).craft(*some_images())
        assert (len(student.asked) > 0) is (mode == "eval")
        assert (len(student.trained_on) > 0) is (mode == "train")


def test_the_steps_are_those_of_the_options(normed: nn.Module) -> None:
    strategy = ARD(steps=7, step_size=0.01, start="gaussian", attack_eps=0.2)
    inner = strategy.crafting(toy_run("student"), normed)
    assert isinstance(inner.attack, Climb)
    assert (inner.attack.steps, inner.attack.step_size, inner.attack.start) == (7, 0.01, "gaussian")
    assert (inner.threat.eps, inner.threat.norm, inner.mode) == (0.2, "linf", "eval")
    customary = ARD().crafting(toy_run("student"), normed)
    assert customary.threat.eps == toy_run("student").info.eps


def test_an_attack_that_is_given_crafts_in_place_of_the_own_steps(normed: nn.Module) -> None:
    inner = ARD(attack=GIVEN, attack_eps=0.2).crafting(toy_run("student"), normed)
    assert "PGD" in repr(inner.attack)
    assert away_from(inner, torch.zeros(3, CLASSES)) is inner
    assert inner.threat.eps == 0.2


def test_what_is_crafted_is_part_of_what_a_stage_depends_on(teacher: nn.Module, normed: nn.Module) -> None:
    def identity(strategy: Crafting) -> object:
        run = run_for(strategy)
        (stage,) = strategy.plan(normed, ModelOracle(teacher, type(strategy).access), run)
        return stage.determined_by["attacked by"]

    assert identity(crafting(RSLAD)) == identity(crafting(RSLAD))
    assert identity(crafting(RSLAD)) != identity(crafting(RSLAD, attack_eps=0.01))
    assert identity(crafting(RSLAD)) != identity(crafting(RSLAD, attack=GIVEN))


@pytest.mark.parametrize("cls", METHODS)
def test_a_radius_in_another_norm_must_be_given(cls: type[Crafting]) -> None:
    with pytest.raises(RequestError, match="set `attack_eps`"):
        cls(attack_norm="l2")
    assert cls(attack_norm="l2", attack_eps=0.5).threat(0.1).norm == "l2"


@pytest.mark.parametrize(
    ("option", "value"), [("steps", 0), ("step_size", 0.0), ("attack_eps", -0.1), ("alpha", 1.5), ("temperature", 0.0)]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(RequestError, match=option):
        ARD(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", METHODS)
def test_without_a_radius_nothing_is_crafted(cls: type[Crafting], teacher: nn.Module, normed: nn.Module) -> None:
    strategy, student = crafting(cls, attack_eps=0.0, epochs=1), Spy(normed)
    run = run_for(strategy)
    execute(strategy.plan(student, ModelOracle(teacher, type(strategy).access), run), Monitor())
    assert float(nearest(torch.cat(student.trained_on), run.data.train.first(64).images).max()) == 0


@pytest.mark.parametrize("cls", METHODS)
def test_with_augmentation_the_teacher_answers_for_the_augmented_image_and_not_for_the_crafted_one(
    cls: type[Crafting], teacher: nn.Module, normed: nn.Module
) -> None:
    strategy = crafting(cls)
    run = attrs.evolve(run_for(strategy), dataset=attrs.evolve(toy_dataset(), augment=("flip", "crop")))
    spied, stages = Spy(teacher).eval(), []
    for stage in strategy.plan(normed, ModelOracle(spied, type(strategy).access), run):
        stages.append(stage)
        execute(iter([stage]), Monitor())
    augmented = torch.cat([batch.images for epoch in range(3) for batch in stages[0].batches.epoch(epoch)])
    assert torch.equal(torch.cat(spied.asked), augmented)


def test_labels_are_not_there_for_methods_that_do_not_read_them() -> None:
    assert (AdversarialDistill().data, RSLAD().data, ARD().data) == (Data.INPUTS, Data.INPUTS, Data.LABELLED)
    assert ARD(images="extra").data == Data.INPUTS


def test_a_stage_is_one_for_every_method(teacher: nn.Module, normed: nn.Module) -> None:
    for cls in METHODS:
        strategy = crafting(cls)
        stages: list[Stage] = list(strategy.plan(normed, ModelOracle(teacher, cls.access), run_for(strategy)))
        assert [stage.target for stage in stages] == [normed]

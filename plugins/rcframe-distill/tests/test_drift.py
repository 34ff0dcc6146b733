from __future__ import annotations

from typing import TypeVar, cast

import attrs
import pytest
import torch
from rcframe_distill.adversarial import AdversarialDistill
from rcframe_distill.drift import Drift
from torch import Tensor, nn

import rcframe
from rcframe import Batch, Climb, Compute, InnerAttack, ModelOracle, RequestError, Run, TensorImages, Threat
from rcframe.options import build
from rcframe.registry import registry
from rcframe.testing.subject import Subject
from rcframe.testing.toys import CLASSES, toy_dataset, toy_images, toy_run
from rcframe.testing.training_promises import (
    check_student_asks_no_more_when_it_goes_on,
    check_student_repeats,
    check_student_resumes,
)
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

EPS = 0.05
T = TypeVar("T")


class Sloped(nn.Module):
    """A network whose crafted images are known: up the slope away from every class but the first, down from that one.

    The logits are u.x, -u.x and -u.x, so the gradient of any objective away from a label is a multiple of u. It keeps
    the images that it is trained on.
    """

    def __init__(self) -> None:
        super().__init__()
        u = torch.randn(64, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(0.01 * torch.stack([u, -u, -u]))
        self.trained_on: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.trained_on.append(x.detach().clone())
        logits: Tensor = x.flatten(1) @ self.weight.T
        return logits

    def away_from(self, y: Tensor) -> Tensor:
        """The sign (B, 1, 8, 8) of every pixel's way away from labels `y` (B,)."""
        slope = self.weight[0].detach().sign().view(1, 1, 8, 8)
        return torch.where((y == 0).view(-1, 1, 1, 1), -slope, slope)


class Knowing(nn.Module):
    """A teacher that keeps what it is asked and answers with the top class 0, 1, 2, 0, 1, 2, ... in that order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.clone())
        return 5.0 * torch.eye(CLASSES)[torch.arange(len(x)) % CLASSES]


def strategy(**options: object) -> AdversarialDistill:
    still = {"optimizer": "sgd", "lr": 1e-12, "momentum": 0.0, "epochs": 3, "batch_size": 16}
    given = {**still, "attack_eps": EPS, "steps": 10, "drift": True, **options}
    return build(AdversarialDistill, given, "adversarial-distill")


def learned_from(run: Run, student: Sloped, teacher: nn.Module, **options: object) -> list[Tensor]:
    """The images (64, 1, 8, 8) that the student learned from in each epoch, in the order of the data."""
    chosen = strategy(**options)
    oracle = ModelOracle(teacher, AdversarialDistill.access)
    (stage,) = chosen.plan(student, oracle, run)
    execute(iter([stage]), Monitor())
    epochs = [torch.cat(student.trained_on[start : start + 4]) for start in range(0, len(student.trained_on), 4)]
    found = []
    for number, images in enumerate(epochs):
        order = torch.cat([cast(Tensor, batch.index) for batch in stage.batches.epoch(number)])
        found.append(torch.empty_like(images).index_copy_(0, order, images))
    return found


def test_every_epoch_goes_on_by_a_radius_from_where_the_last_one_ended() -> None:
    run, student, teacher = toy_run("student", AdversarialDistill.data), Sloped(), Knowing()
    x = run.data.train.first(64).images
    way = student.away_from(torch.arange(64) % CLASSES)
    expected = x
    for images in learned_from(run, student, teacher):
        expected = (expected + EPS * way).clamp(0, 1)
        assert torch.allclose(images, expected, atol=1e-6)
    assert float((expected - x).abs().max()) == pytest.approx(3 * EPS, abs=1e-6)
    assert torch.equal(torch.cat(teacher.asked), x), "the teacher answers for the images of the data, each once"


def test_without_drift_every_epoch_starts_from_the_data() -> None:
    run, student = toy_run("student", AdversarialDistill.data), Sloped()
    x = run.data.train.first(64).images
    way = student.away_from(torch.arange(64) % CLASSES)
    for images in learned_from(run, student, Knowing(), drift=False):
        assert torch.allclose(images, (x + EPS * way).clamp(0, 1), atol=1e-6)


def test_away_from_the_student_is_away_from_its_answer_for_the_image_as_it_is_by_now() -> None:
    """The top answer of the student flips on the way, so an image that started on one side turns back."""
    run, student = toy_run("student", AdversarialDistill.data), Sloped()
    expected = run.data.train.first(64).images
    turned = torch.zeros(64, dtype=torch.bool)
    for images in learned_from(run, student, Knowing(), away_from="student", epochs=6):
        with torch.no_grad():
            top = student.eval()(expected).argmax(1)
        turned |= top != student(run.data.train.first(64).images).argmax(1)
        expected = (expected + EPS * student.away_from(top)).clamp(0, 1)
        assert torch.allclose(images, expected, atol=1e-5)
    assert turned.any(), "the test could not tell"


@pytest.mark.parametrize("begun", [False, True])
def test_the_images_go_on_from_where_they_were(begun: bool) -> None:
    images, network = toy_images(8, 1), Sloped().eval()
    inner = InnerAttack(attack=Climb(), network=network, threat=Threat(EPS))
    batch = attrs.evolve(images.first(8), index=torch.arange(8))
    before, after = Drift(images, Compute()), Drift(images, Compute())
    if begun:
        before.craft(inner, batch, batch.labels)
    after.load_state_dict(before.state_dict())
    again, once = after.craft(inner, batch, batch.labels), before.craft(inner, batch, batch.labels)
    assert torch.equal(again, once)
    assert float((once - batch.images).abs().max()) == pytest.approx((1 + begun) * EPS, abs=1e-6)


def test_training_on_drifting_images_repeats_and_can_be_stopped() -> None:
    name = "adversarial-distill"
    spec = next(each.spec for each in registry().announced("student") if each.spec.name == name)

    class Drifting(Subject):
        def make(self) -> AdversarialDistill:
            return AdversarialDistill(drift=True, epochs=2, batch_size=16, steps=2)

    for promise in (check_student_repeats, check_student_resumes, check_student_asks_no_more_when_it_goes_on):
        promise(Drifting("rcframe-distill", "rcframe_distill", spec))


class Two(Compute):
    """One of two processes, whose other one gives what was put in beforehand."""

    count = 2

    def __init__(self, other: object) -> None:
        super().__init__()
        self.other = other

    def gather(self, item: T) -> list[T]:
        return [item, cast(T, self.other)]


def test_what_another_process_crafted_is_known_here_in_the_next_epoch() -> None:
    images, inner = toy_images(8, 1), InnerAttack(attack=Climb(), network=Sloped().eval(), threat=Threat(EPS))
    elsewhere = torch.arange(4, 8), torch.full((4, 1, 8, 8), 0.5)
    drift = Drift(images, Two(elsewhere))
    here = attrs.evolve(images.first(4), index=torch.arange(4))
    drift.craft(inner, here, here.labels)
    there: Batch = attrs.evolve(images.fetch(torch.arange(4, 8)), index=torch.arange(4, 8))
    crafted = drift.craft(inner, there, there.labels)
    assert torch.allclose((crafted - 0.5).abs(), torch.tensor(EPS), atol=1e-6)


class Lending(TensorImages):
    """A set that hands out its own images instead of a copy."""

    def fetch(self, index: Tensor) -> Batch:
        return Batch(self.x)


def test_the_data_itself_is_left_alone() -> None:
    images, inner = (
        Lending(toy_images(8, 1).x),
        InnerAttack(attack=Climb(), network=Sloped().eval(), threat=Threat(EPS)),
    )
    batch = Batch(images.x.clone(), index=torch.arange(8))
    Drift(images, Compute()).craft(inner, batch, torch.arange(8) % CLASSES)
    assert torch.equal(images.x, batch.images)


def test_images_that_are_changed_in_every_epoch_cannot_drift() -> None:
    augmented = toy_run("student", AdversarialDistill.data, dataset=attrs.evolve(toy_dataset(), augment=("flip",)))
    with pytest.raises(RequestError, match=r"drift=true.*augment=flip.*leave out one of the two"):
        strategy().check_run(augmented)
    strategy(drift=False).check_run(augmented)
    strategy().check_run(toy_run("student", AdversarialDistill.data))


def test_a_run_on_augmented_images_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(RequestError, match="drift=true"):
        rcframe.run(data="digits:augment=crop", teacher="plain:epochs=1", student="adversarial-distill:drift=true")

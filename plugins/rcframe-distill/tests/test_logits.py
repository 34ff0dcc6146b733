from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.kd import distillation_loss
from rcframe_distill.logits import Logits, logit_loss
from torch import Tensor, nn

from rcframe import Answer, ModelOracle, Oracle, Queries, Run
from rcframe.testing.toys import CLASSES, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

SEEDS = st.integers(0, 1000)


def logits(seed: int, batch: int = 4, classes: int = 5) -> Tensor:
    return 3 * torch.randn(batch, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, at)
    return found


def test_the_loss_is_the_one_computed_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, 2.0], [0.0, 2.0]], dtype=torch.float64)
    assert float(logit_loss(student, teacher)) == pytest.approx((4 + 0 + 0 + 9) / 4, abs=1e-12)
    # Less their means, the differences are (-1, 1) and (1.5, -1.5).
    assert float(logit_loss(student, teacher, centred=True)) == pytest.approx((2 * 1 + 2 * 2.25) / 4, abs=1e-12)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_it_is_the_mean_square_over_samples_and_classes(seed: int) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    assert torch.allclose(logit_loss(student, teacher), F.mse_loss(student, teacher), rtol=1e-10)
    centred = F.mse_loss(student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True))
    assert torch.allclose(logit_loss(student, teacher, centred=True), centred, rtol=1e-10)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_gradient_is_twice_that_of_distillation_at_a_high_temperature(seed: int) -> None:
    student, teacher = logits(seed).requires_grad_(True), logits(seed + 1)
    matching = gradient(logit_loss(student, teacher, centred=True), student)
    distilling = gradient(distillation_loss(student, teacher, torch.zeros(4).long(), 1.0, 1e5), student)
    assert torch.allclose(matching, 2 * distilling, rtol=1e-3, atol=1e-4)


def test_only_the_centred_loss_ignores_what_all_logits_of_an_image_share() -> None:
    student, shift = logits(0), torch.tensor([[5.0], [-3.0], [0.0], [1.0]], dtype=torch.float64)
    assert float(logit_loss(student + shift, student)) == pytest.approx(float(shift.square().mean()), abs=1e-10)
    assert float(logit_loss(student + shift, student, centred=True)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("centred", [False, True])
def test_classes_that_the_teacher_rules_out_are_left_out(centred: bool) -> None:
    student, teacher = logits(0, classes=5).requires_grad_(True), logits(1, classes=5)
    sparse = teacher.clone()
    sparse[:, 3:] = -math.inf
    loss = logit_loss(student, sparse, centred)
    assert torch.allclose(loss, logit_loss(student[:, :3], teacher[:, :3], centred), rtol=1e-10)
    pull = gradient(loss, student)
    assert pull.isfinite().all()
    assert not pull[:, 3:].any()
    assert pull[:, :3].all()


def fit(strategy: Logits, student: nn.Module, teacher: Oracle, run: Run | None = None) -> nn.Module:
    execute(strategy.plan(student, teacher, run or toy_run("student")), Monitor())
    return student


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))


def test_a_linear_student_finds_its_linear_teacher() -> None:
    torch.manual_seed(0)
    teacher, student, run = linear().eval(), linear(), toy_run("student")
    strategy = Logits(epochs=300, batch_size=64, lr=0.05, schedule="cosine")
    fit(strategy, student, ModelOracle(teacher, Logits.access), run)
    x = run.data.train.first(64).images
    with torch.no_grad():
        before = F.mse_loss(linear()(x), teacher(x))
        assert float(F.mse_loss(student(x), teacher(x))) < 0.01 * float(before)


def test_one_step_goes_along_the_gradient_of_the_mean_square(teacher: nn.Module) -> None:
    run, student = toy_run("student"), linear()
    layer = student[1]  # type: ignore[index]
    weight = layer.weight.detach().double().clone()
    everything = run.data.train.first(64).images
    x = everything.flatten(1).double()
    with torch.no_grad():
        gap = x @ weight.T + layer.bias.double() - teacher(everything).double()
    fit(
        Logits(epochs=1, batch_size=64, optimizer="sgd", lr=1.0, momentum=0.0),
        student,
        ModelOracle(teacher, Logits.access),
        run,
    )
    expected = weight - 2 * gap.T @ x / gap.numel()
    assert torch.allclose(layer.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


class Sparse(Oracle):
    """A teacher that rules all classes out but the likeliest ones."""

    access = Logits.access

    def __init__(self, network: nn.Module, kept: int) -> None:
        self.queries = Queries()
        self._network, self._kept = network, kept

    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        with torch.no_grad():
            z = self._network(x)
        least = z.topk(self._kept, dim=1).values[:, -1:]
        return Answer(self.access, z.masked_fill(z < least, -math.inf), {})

    def module(self) -> nn.Module:
        raise NotImplementedError


class Listener(Monitor):
    """Keeps what a training tells its user."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def said(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(("kept", "expected"), [(1, 1), (CLASSES, 0)])
def test_a_teacher_that_rules_classes_out_is_told_of_once(kept: int, expected: int, teacher: nn.Module) -> None:
    listener, oracle = Listener(), Sparse(teacher, kept)
    execute(Logits(epochs=2, batch_size=16).plan(linear(), oracle, toy_run("student")), listener)
    assert len(listener.told) == expected
    assert all("-inf" in text for text in listener.told)

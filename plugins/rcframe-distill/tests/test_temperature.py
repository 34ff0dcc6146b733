from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.temperature import Temperature, ranged_loss
from torch import Tensor, nn

from rcframe import ModelOracle
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

SEEDS, TEMPERATURES = st.integers(0, 1000), st.floats(0.1, 5)


def logits(seed: int, batch: int = 4, classes: int = 5) -> Tensor:
    return 3 * torch.randn(batch, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Softmax of (2 ln 3, 0) / 2 is (3/4, 1/4); the student's softmax of (ln 4, 0) is (4/5, 1/5).
    teacher = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
    student = torch.tensor([[math.log(4), 0.0]], dtype=torch.float64)
    expected = -0.75 * math.log(0.8) - 0.25 * math.log(0.2)
    assert float(ranged_loss(student, teacher, 2.0)) == pytest.approx(expected, abs=1e-12)


@given(SEEDS, TEMPERATURES)
@settings(max_examples=30, deadline=None)
def test_it_is_the_cross_entropy_of_the_softened_teacher(seed: int, temperature: float) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    q = (teacher / temperature).softmax(1)
    loss = ranged_loss(student, teacher, temperature)
    assert torch.allclose(loss, F.cross_entropy(student, q), rtol=1e-10)
    divergence = F.kl_div(student.log_softmax(1), q, reduction="batchmean")
    entropy = -(q * q.log()).sum(1).mean()
    assert torch.allclose(loss, divergence + entropy, rtol=1e-9)


@given(SEEDS, TEMPERATURES)
@settings(max_examples=30, deadline=None)
def test_the_least_loss_is_at_the_teachers_logits_over_the_temperature(seed: int, temperature: float) -> None:
    teacher = logits(seed)
    shift = torch.tensor([[1.0], [0.0], [-5.0], [3.0]], dtype=torch.float64)
    best = (teacher / temperature + shift).requires_grad_(True)
    (pull,) = torch.autograd.grad(ranged_loss(best, teacher, temperature), best)
    assert torch.allclose(pull, torch.zeros_like(pull), atol=1e-10)


def test_a_class_that_the_teacher_rules_out_has_no_weight() -> None:
    teacher = torch.tensor([[1.0, 0.0, -math.inf]], dtype=torch.float64)
    student = logits(0, batch=1, classes=3)
    q = torch.cat([teacher[:, :2].softmax(1), torch.zeros(1, 1, dtype=torch.float64)], dim=1)
    assert torch.allclose(ranged_loss(student, teacher, 1.0), F.cross_entropy(student, q), rtol=1e-10)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_student_that_can_reaches_the_teachers_logits_over_the_temperature(temperature: float) -> None:
    """Regressed on the teacher's, with both centred, its logits have the slope 1 / T."""
    torch.manual_seed(0)
    teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2))
    run = toy_run("student")
    strategy = Temperature(temperature=temperature, epochs=300, batch_size=64, lr=0.05, schedule="cosine")
    execute(strategy.plan(student, ModelOracle(teacher.eval(), Temperature.access), run), Monitor())
    x = run.data.train.first(64).images
    with torch.no_grad():
        own, theirs = (each - each.mean(1, keepdim=True) for each in (student(x), teacher(x)))
    assert float((own * theirs).sum() / theirs.square().sum()) == pytest.approx(1 / temperature, rel=0.02)

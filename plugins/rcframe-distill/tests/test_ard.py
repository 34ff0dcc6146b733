from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.ard import ARD, ard_loss
from torch import Tensor, nn

from rcframe import InnerAttack, ModelOracle, Run
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

Y = torch.arange(4)


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # The teacher's softmax of (2 ln 3, 0) / 2 is (3/4, 1/4); the student's are (1/2, 1/2), and (4/5, 1/5) when clean.
    teacher = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
    attacked, clean = torch.zeros(1, 2).double(), torch.tensor([[math.log(4), 0.0]], dtype=torch.float64)
    soft = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = ard_loss(clean, attacked, teacher, torch.tensor([1]), 0.7, 2.0)
    assert float(loss) == pytest.approx(0.7 * 4 * soft - 0.3 * math.log(0.2), abs=1e-12)


@given(st.floats(0, 1), st.floats(1, 40), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_it_is_the_divergence_on_attacked_and_the_cross_entropy_on_clean_images(
    alpha: float, temperature: float, seed: int
) -> None:
    clean, attacked, teacher = (logits(seed + number) for number in range(3))
    divergence = F.kl_div(
        (attacked / temperature).log_softmax(1), (teacher / temperature).softmax(1), reduction="batchmean"
    )
    expected = alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(clean, Y)
    assert torch.allclose(ard_loss(clean, attacked, teacher, Y, alpha, temperature), expected, rtol=1e-9, atol=1e-10)


def test_a_term_without_weight_is_not_looked_at() -> None:
    clean, attacked, teacher = (logits(number) for number in range(3))
    nonsense = torch.full_like(clean, math.nan)
    assert torch.equal(ard_loss(nonsense, attacked, teacher, Y + 99, 1.0, 30.0).isnan(), torch.tensor(False))
    assert torch.equal(ard_loss(clean, nonsense, nonsense, Y, 0.0, 30.0), F.cross_entropy(clean, Y))


class Passes(nn.Module):
    """Counts the forward passes in training mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.count = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += self.training
        output: Tensor = self.net(x)
        return output


@pytest.mark.parametrize(("alpha", "passes"), [(1.0, 1), (0.5, 2)])
def test_clean_images_are_passed_only_where_they_count(
    alpha: float, passes: int, teacher: nn.Module, normed: nn.Module
) -> None:
    student = Passes(normed)
    strategy = ARD(alpha=alpha, epochs=1, batch_size=64, steps=1)
    execute(strategy.plan(student, ModelOracle(teacher, ARD.access), toy_run("student")), Monitor())
    assert student.count == passes


def test_images_are_attacked_away_from_their_labels(
    teacher: nn.Module, normed: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor | None] = []
    craft = InnerAttack.craft

    def noting(self: InnerAttack, x: Tensor, y: Tensor | None = None) -> Tensor:
        seen.append(y)
        return craft(self, x, y)

    monkeypatch.setattr(InnerAttack, "craft", noting)
    run: Run = toy_run("student")
    (stage,) = ARD(epochs=1, batch_size=16, steps=1).plan(normed, ModelOracle(teacher, ARD.access), run)
    execute(iter([stage]), Monitor())
    labels = [batch.labels for batch in stage.batches.epoch(0)]
    assert len(seen) == len(labels)
    assert all(y is not None and torch.equal(y, label) for y, label in zip(seen, labels, strict=True))

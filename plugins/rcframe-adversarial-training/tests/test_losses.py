"""The losses of `trades` and `mart`, by hand and against independent computations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_adversarial_training.mart import boosted_cross_entropy, mart_loss
from rcframe_adversarial_training.trades import trades_loss
from torch import Tensor


def of_probabilities(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def some(seed: int) -> Tensor:
    return 3 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(loss: Callable[[Tensor, Tensor], Tensor], *at: Tensor) -> tuple[Tensor, ...]:
    points = [each.clone().requires_grad_(True) for each in at]
    return torch.autograd.grad(loss(points[0], points[1]), points)


CLEAN, ATTACKED = of_probabilities([0.5, 0.5], [0.75, 0.25]), of_probabilities([0.25, 0.75], [0.5, 0.5])
Y = torch.tensor([0, 1])
#: KL of the two rows, by hand.
KL = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75), 0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_trades_by_hand() -> None:
    expected = (math.log(2) + math.log(4)) / 2 + 6 * (KL[0] + KL[1]) / 2
    assert float(trades_loss(CLEAN, ATTACKED, Y, 6.0)) == pytest.approx(expected, abs=1e-12)


def test_mart_by_hand() -> None:
    # Of the attacked rows, the labels have 1/4 and 1/2, the strongest others 3/4 and 1/2.
    boosted = (-math.log(0.25) - math.log(0.25), -math.log(0.5) - math.log(0.5))
    expected = (boosted[0] + 5 * KL[0] * (1 - 0.5) + boosted[1] + 5 * KL[1] * (1 - 0.25)) / 2
    assert float(mart_loss(CLEAN, ATTACKED, Y, 5.0)) == pytest.approx(expected, abs=1e-12)


def test_boosted_cross_entropy_with_three_classes_by_hand() -> None:
    rows = of_probabilities([0.2, 0.5, 0.3], [0.7, 0.1, 0.2])
    found = boosted_cross_entropy(rows, torch.tensor([0, 0]))
    assert found.tolist() == pytest.approx([-math.log(0.2) - math.log(0.5), -math.log(0.7) - math.log(0.8)])


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_losses_are_those_of_probabilities(seed: int) -> None:
    clean, attacked, y = some(seed), some(seed + 1), torch.arange(5) % 4
    p, q, rows = clean.softmax(1), attacked.softmax(1), torch.arange(5)
    kl = F.kl_div(q.log(), p, reduction="none").sum(1)
    wrong = q.clone()
    wrong[rows, y] = 0
    boosted = -q[rows, y].log() - (1 - wrong.amax(1)).log()
    assert torch.allclose(mart_loss(clean, attacked, y, 3.0), (boosted + 3 * kl * (1 - p[rows, y])).mean())
    assert torch.allclose(trades_loss(clean, attacked, y, 3.0), (3 * kl - p[rows, y].log()).mean())


@pytest.mark.parametrize("loss", [trades_loss, mart_loss])
def test_gradients_flow_through_both_answers(loss: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    y = torch.arange(5) % 4
    for place, gradient in enumerate(gradients(lambda a, b: loss(a, b, y, 2.0), some(0), some(1))):
        for row in range(5):
            for column in range(4):
                points = [some(0), some(1)]
                values = []
                for sign in (1, -1):
                    moved = [point.clone() for point in points]
                    moved[place][row, column] += sign * 1e-6
                    values.append(loss(moved[0], moved[1], y, 2.0))
                assert float((values[0] - values[1]) / 2e-6) == pytest.approx(float(gradient[row, column]), abs=1e-6)


def test_confident_answers_give_finite_losses_and_gradients() -> None:
    clean, attacked = torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([[0.0, 200.0, 0.0]])
    y = torch.tensor([0])
    for first, second in ((clean, attacked), (attacked, clean), (clean, clean)):
        for loss in (trades_loss, mart_loss):
            assert torch.isfinite(loss(first, second, y, 6.0))
            for gradient in gradients(lambda a, b, loss=loss: loss(a, b, y, 6.0), first, second):  # type: ignore[misc]
                assert torch.isfinite(gradient).all()


def test_without_weight_only_labels_count() -> None:
    y = torch.arange(5) % 4
    assert torch.equal(trades_loss(some(0), some(1), y, 0.0), F.cross_entropy(some(0), y))
    assert torch.allclose(mart_loss(some(0), some(1), y, 0.0), boosted_cross_entropy(some(1), y).mean())

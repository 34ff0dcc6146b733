from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from rcframe.training.losses import kl_divergence


@given(st.integers(0, 1000), st.floats(0.2, 20))
def test_divergence_agrees_with_scipy(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, q = 5 * torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    expected = entropy(softmax(p / temperature, axis=1), softmax(q / temperature, axis=1), axis=1).mean()
    assert float(kl_divergence(p, q, temperature)) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_divergence_by_hand_is_not_symmetric_and_not_scaled_by_the_temperature() -> None:
    # Softmax gives (1/2, 1/2) and (3/4, 1/4) at temperature 2.
    even, uneven = torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]])
    forward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    backward = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(kl_divergence(even, uneven, 2.0)) == pytest.approx(forward, rel=1e-6)
    assert float(kl_divergence(uneven, even, 2.0)) == pytest.approx(backward, rel=1e-6)


def test_classes_are_summed_and_images_averaged() -> None:
    p, q = torch.randn(5, 7), torch.randn(5, 7)
    each = [kl_divergence(p[i : i + 1], q[i : i + 1], 3.0) for i in range(5)]
    torch.testing.assert_close(kl_divergence(p, q, 3.0), torch.stack(each).mean())


def test_equal_logits_diverge_by_nothing_up_to_a_shift() -> None:
    p = torch.randn(4, 3)
    assert float(kl_divergence(p, p + 2.5, 4.0)) == pytest.approx(0, abs=1e-6)


def test_large_logits_stay_finite() -> None:
    p, q = torch.tensor([[1e4, 0.0, -1e4]]), torch.tensor([[0.0, 1e4, 0.0]])
    assert math.isfinite(float(kl_divergence(p, q, 1.0)))


def test_gradients_reach_both_sides() -> None:
    p, q = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    kl_divergence(p, q, 2.0).backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    assert q.grad is not None
    # d KL / d q = (softmax(q/T) - softmax(p/T)) / T, averaged over the batch.
    expected = (F.softmax(q / 2, dim=1) - F.softmax(p / 2, dim=1)).detach() / 2 / 4
    torch.testing.assert_close(q.grad, expected)
    assert bool(p.grad.any())


def test_a_class_that_the_first_rules_out_adds_nothing() -> None:
    p = torch.tensor([[0.0, 0.0, -torch.inf], [1.0, -torch.inf, -torch.inf]], dtype=torch.float64)
    q = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    # One half each of two classes against thirds: log(3/2); and one class against thirds: log 3.
    expected = (math.log(1.5) + math.log(3)) / 2
    for temperature in (1.0, 4.0):
        scaled = p * temperature
        assert kl_divergence(scaled, q, temperature).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_numbers_where_a_class_is_ruled_out(dtype: torch.dtype) -> None:
    p = torch.tensor([[0.0, -torch.inf, 2.0]], dtype=dtype)
    q = torch.tensor([[1.0, 3.0, -1.0]], dtype=dtype, requires_grad=True)
    kl_divergence(p, q, 2.0).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    assert q.grad is not None
    wanted = ((q / 2).softmax(dim=1) - (p / 2).softmax(dim=1)) / 2
    assert torch.allclose(q.grad, wanted.detach(), atol=1e-2 if dtype == torch.bfloat16 else 1e-6)


def test_without_a_class_that_is_ruled_out_nothing_changed() -> None:
    torch.manual_seed(0)
    p, q = 5 * torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    log_p, log_q = (p / 3).log_softmax(dim=1), (q / 3).log_softmax(dim=1)
    assert torch.equal(kl_divergence(p, q, 3.0), (log_p.exp() * (log_p - log_q)).sum(dim=1).mean())

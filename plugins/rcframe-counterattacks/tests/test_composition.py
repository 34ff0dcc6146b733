from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_counterattacks.composition import composed, composition_loss, labels_as_probabilities
from torch import Tensor

SHARES = st.floats(0, 1)
TEMPERATURES = st.floats(0.5, 20)
SEEDS = st.integers(0, 1000)


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_the_composition_is_the_one_computed_by_hand() -> None:
    # Softmax of (2 ln 3, 0) / 2 is (3/4, 1/4).
    found = composed(row(2 * math.log(3), 0), row(0, 1), 0.4, 2.0)
    assert found.tolist() == [pytest.approx([0.3, 0.7], abs=1e-12)]


@given(SHARES, TEMPERATURES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_composition_is_a_distribution_between_its_parts(mix: float, temperature: float, seed: int) -> None:
    clean = logits(seed + 1).softmax(1)
    found = composed(logits(seed), clean, mix, temperature)
    assert torch.allclose(found.sum(1), torch.ones(4, dtype=torch.float64), rtol=1e-10)
    assert torch.allclose(composed(logits(seed), clean, 0.0, temperature), clean, rtol=1e-10)
    alone = composed(logits(seed), clean, 1.0, temperature)
    assert torch.allclose(alone, (logits(seed) / temperature).softmax(1), rtol=1e-10)


def test_a_class_that_the_teacher_rules_out_keeps_the_clean_signals_share() -> None:
    assert composed(row(0, -math.inf, 0), row(0, 1, 0), 0.5, 4.0).tolist() == [pytest.approx([0.25, 0.5, 0.25])]


def test_heat_and_mixing_shrink_a_false_peak() -> None:
    nasty, label = row(8, 7, 0, 0), row(1, 0, 0, 0)
    peaks = [float(composed(nasty, label, mix, tau)[0, 1]) for mix, tau in ((1, 4), (0.5, 4), (0.5, 20))]
    assert peaks[0] > 1.9 * peaks[1] > 1.9 * peaks[2] > 0


def test_labels_become_certain() -> None:
    found = labels_as_probabilities(torch.tensor([2, 0]), torch.zeros(2, 3, dtype=torch.float64))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert found.dtype == torch.float64


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Softmax of (0, 0, 0) is a third each, at any temperature; 0 log 0 adds nothing.
    divergence = 0.75 * math.log(0.75 * 3) + 0.25 * math.log(0.25 * 3)
    loss = composition_loss(row(0, 0, 0), row(0.75, 0, 0.25), 2.0)
    assert float(loss) == pytest.approx(4 * divergence, abs=1e-12)


@given(TEMPERATURES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_loss_is_soft_cross_entropy_minus_entropy_and_pulls_towards_the_target(tau: float, seed: int) -> None:
    z, q = logits(seed).requires_grad_(True), logits(seed + 1).softmax(1)
    loss = composition_loss(z, q, tau)
    expected = tau**2 * (q * (q.log() - (z / tau).log_softmax(1))).sum(1).mean()
    assert torch.allclose(loss, expected, rtol=1e-10, atol=1e-10)
    (found,) = torch.autograd.grad(loss, z)
    assert torch.allclose(found, tau * ((z.detach() / tau).softmax(1) - q) / 4, rtol=1e-10, atol=1e-10)


@given(SHARES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_teacher_that_is_hot_enough_only_smooths_the_labels(mix: float, seed: int) -> None:
    z, y = logits(seed).requires_grad_(True), torch.arange(4)
    target = composed(logits(seed + 1), labels_as_probabilities(y, z), mix, 1e12)
    (found,) = torch.autograd.grad(composition_loss(z, target, 1.0), z)
    (smoothed,) = torch.autograd.grad(F.cross_entropy(z, y, label_smoothing=mix), z)
    assert torch.allclose(found, smoothed, rtol=1e-9, atol=1e-9)

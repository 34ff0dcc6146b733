from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_attacks.objective import (
    ascent_direction,
    confusion,
    cross_entropy,
    logits_ratio,
    look,
    look_in_pieces,
    margin,
    misclassified,
)
from torch import Tensor, nn

from rcframe import Access, ModelOracle


def draw(seed: int) -> Tensor:
    return 4 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


Y = torch.tensor([0, 1, 2, 3, 0])


def test_confusion_is_the_one_computed_by_hand() -> None:
    z = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    expected = torch.tensor([2.0, 3.0], dtype=torch.float64).exp().sum().log() - 1
    assert torch.allclose(confusion(z, torch.tensor([0])), expected, atol=1e-12)
    two = torch.tensor([[5.0, 1.5]], dtype=torch.float64)
    assert confusion(two, torch.tensor([0])).tolist() == [-3.5]


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_cross_entropy_grows_with_confusion(seed: int) -> None:
    z = draw(seed)
    assert torch.allclose(F.softplus(confusion(z, Y)), F.cross_entropy(z, Y, reduction="none"), atol=1e-10)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gradient_points_where_that_of_cross_entropy_does(seed: int) -> None:
    z = draw(seed).requires_grad_(True)
    (ours,) = torch.autograd.grad(confusion(z, Y).sum(), z)
    (theirs,) = torch.autograd.grad(F.cross_entropy(z, Y, reduction="sum"), z)
    assert torch.allclose(F.cosine_similarity(ours, theirs), torch.ones(5, dtype=torch.float64), atol=1e-9)


def test_the_direction_is_taken_at_the_images_and_leaves_them_alone(smooth: nn.Module) -> None:
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    oracle = ModelOracle(smooth, Access.LOGITS | Access.INPUT_GRAD)
    found = ascent_direction(oracle, x, Y[:3])
    step = torch.zeros_like(x)
    step[0, 0, 4, 5] = 1e-6
    with torch.no_grad():
        rise = (confusion(smooth(x + step), Y[:3]) - confusion(smooth(x - step), Y[:3])) / 2e-6
    assert torch.allclose(rise, torch.stack([found[0, 0, 4, 5], *torch.zeros(2, dtype=torch.float64)]), atol=1e-7)
    assert not x.requires_grad


# --- margins ---------------------------------------------------------------------------------------------------------

Z = torch.tensor([[1.0, 4.0, 2.0, 0.5], [3.0, -1.0, 2.0, 2.5]])
LABELS, TARGETS = torch.tensor([2, 0]), torch.tensor([0, 3])


def test_margins_and_ratios_are_those_computed_by_hand() -> None:
    assert margin(Z, LABELS).tolist() == [2.0, -0.5]
    assert margin(Z, LABELS, TARGETS).tolist() == [-1.0, -0.5]
    assert torch.allclose(logits_ratio(Z, LABELS), torch.tensor([2 / (4 - 1), -0.5 / (3 - 2)]))
    expected = torch.tensor([-1 / (4 - (1 + 0.5) / 2), -0.5 / (3 - (2 - 1) / 2)])
    assert torch.allclose(logits_ratio(Z, LABELS, TARGETS), expected)


def test_a_target_turns_cross_entropy_round() -> None:
    assert torch.equal(cross_entropy(Z, LABELS), confusion(Z, LABELS))
    assert torch.equal(cross_entropy(Z, LABELS, TARGETS), -confusion(Z, TARGETS))


@given(st.integers(0, 1000), st.floats(0.01, 1000), st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_the_ratio_is_the_same_for_logits_of_any_scale_and_height(seed: int, scale: float, height: float) -> None:
    z = draw(seed)
    for targets in (None, (Y + 1) % 4):
        assert torch.allclose(logits_ratio(scale * z + height, Y, targets), logits_ratio(z, Y, targets), rtol=1e-6)


def test_the_ratio_of_equal_logits_is_a_number() -> None:
    z = torch.zeros(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(logits_ratio(z, torch.tensor([1])).sum(), z)
    assert bool(gradient.isfinite().all())


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_row_is_misclassified_where_its_margin_is_positive_or_no_number(seed: int) -> None:
    z = draw(seed)
    assert torch.equal(misclassified(z, Y), margin(z, Y) > 0)
    # argmax would name the very class that is no number.
    z[1, 1] = float("nan")
    assert bool(misclassified(z, Y)[1])


@pytest.mark.parametrize("targets", [None, (Y + 1) % 3])
@pytest.mark.parametrize("most", [1, 2, 4, 5, 9])
def test_looking_in_pieces_finds_the_same(most: int, targets: Tensor | None, smooth: nn.Module) -> None:
    x, y = torch.rand(5, 1, 8, 8, dtype=torch.float64), Y % 3
    whole = ModelOracle(smooth, Access.LOGITS | Access.INPUT_GRAD)
    pieces = ModelOracle(smooth, Access.LOGITS | Access.INPUT_GRAD)
    expected, found = look(whole, x, y, margin, targets), look_in_pieces(pieces, x, y, margin, targets, most)
    assert torch.allclose(found[0], expected[0], atol=1e-12)
    assert torch.allclose(found[1], expected[1], atol=1e-12)
    assert pieces.queries.images == whole.queries.images == 5
    assert pieces.queries.calls == -(-5 // most)

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_attacks.objective import ascent_direction, confusion
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

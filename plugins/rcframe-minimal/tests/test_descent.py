from __future__ import annotations

import torch
from hypothesis import given, settings, strategies as st
from rcframe_minimal.descent import Descent, Nearest, from_unbounded, to_unbounded


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_images_come_back_from_the_unbounded_space(pixels: list[float]) -> None:
    x = torch.tensor(pixels, dtype=torch.float64).view(1, 1, 1, -1)
    w = to_unbounded(x, (0.0, 1.0))
    assert bool(w.isfinite().all())
    assert torch.allclose(from_unbounded(w, (0.0, 1.0)), x, atol=1e-6)


def test_whatever_leaves_the_unbounded_space_is_in_the_pixel_range() -> None:
    w = torch.tensor([-1e9, -20.0, 0.0, 20.0, 1e9]).view(1, 1, 1, 5)
    assert from_unbounded(w, (0.0, 1.0)).flatten().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_only_what_counts_and_is_nearer_is_noted() -> None:
    nearest = Nearest.to(torch.zeros(4, 1, 1, 1))
    nearest.note(
        torch.tensor([0, 1, 3]), torch.full((3, 1, 1, 1), 0.5), torch.full((3,), 0.5), torch.tensor([1, 1, 0]) > 0
    )
    assert nearest.images.flatten().tolist() == [0.5, 0.5, 0.0, 0.0]
    assert nearest.distance.tolist() == [0.5, 0.5, float("inf"), float("inf")]
    nearest.note(
        torch.tensor([1, 0]),
        torch.tensor([0.3, 0.7]).view(2, 1, 1, 1),
        torch.tensor([0.3, 0.7]),
        torch.tensor([True, True]),
    )
    assert nearest.images.flatten().tolist() == torch.tensor([0.5, 0.3, 0.0, 0.0]).tolist()
    assert nearest.distance.tolist() == torch.tensor([0.5, 0.3, float("inf"), float("inf")]).tolist()


def test_steps_are_those_of_adam_for_points_that_stay() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 1, 2, 2, dtype=torch.float64), torch.randn(6, 3, 1, 2, 2, dtype=torch.float64)
    parameter = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([parameter], lr=0.03)
    descent = Descent.at(start, 0.03)
    kept = torch.tensor([True, False, True])
    for step, gradient in enumerate(gradients):
        parameter.grad = gradient.clone()
        optimizer.step()
        descent.step(gradient if step < 3 else gradient[kept])
        if step == 2:
            assert torch.allclose(descent.point, parameter.detach(), atol=1e-12)
            descent.keep(kept)
    assert torch.allclose(descent.point, parameter.detach()[kept], atol=1e-12)
    assert not torch.allclose(descent.point, start[kept], atol=1e-3)

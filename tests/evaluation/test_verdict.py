from __future__ import annotations

import torch

from rcframe.evaluation.verdict import Moved


def test_only_broken_images_have_a_distance_and_it_is_that_of_both_norms() -> None:
    x = torch.zeros(2, 1, 2, 1)
    step = torch.tensor([0.3, -0.4]).view(1, 1, 2, 1).expand(2, -1, -1, -1)
    moved = Moved.of(x + step, x, torch.tensor([True, False]))
    torch.testing.assert_close(moved.linf, torch.tensor([0.4, 0.0]))
    torch.testing.assert_close(moved.l2, torch.tensor([0.5, 0.0]))


def test_distances_are_float32_whatever_the_images_are() -> None:
    x = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    moved = Moved.of(x + 0.5, x, torch.tensor([True]))
    assert (moved.linf.dtype, moved.l2.dtype) == (torch.float32, torch.float32)

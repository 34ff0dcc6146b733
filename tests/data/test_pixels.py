from __future__ import annotations

import numpy as np
import pytest
import torch

from rcframe.data.pixels import channel_statistics


@pytest.mark.parametrize("count", [1, 5, 1024, 1025, 2500])
def test_statistics_agree_with_numpy_over_several_chunks(count: int) -> None:
    x = torch.rand(count, 2, 3, 4, generator=torch.Generator().manual_seed(count)) * torch.tensor([1, 0.3]).view(
        2, 1, 1
    )
    mean, std = channel_statistics(x)
    array = x.numpy().astype(np.float64)
    assert mean == pytest.approx(array.mean(axis=(0, 2, 3)))
    assert std == pytest.approx(array.std(axis=(0, 2, 3)))


def test_bytes_count_as_pixels_in_0_to_1() -> None:
    x = torch.tensor([0, 255, 0, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    assert channel_statistics(x) == ((0.5,), (0.5,))


def test_images_of_one_colour_can_still_be_divided_by_their_deviation() -> None:
    mean, std = channel_statistics(torch.full((3, 1, 2, 2), 0.25))
    assert mean == pytest.approx((0.25,))
    assert std == (1 / 255,)

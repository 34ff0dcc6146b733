"""How many examples and channels are bounded at once."""

from __future__ import annotations

import pytest
import torch
from rcframe_convex import windows
from rcframe_convex.blocks import Block
from rcframe_convex.bounds import Ball, margin_bounds
from rcframe_convex.network import Network, read
from torch import Tensor, nn


def network() -> Network:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 20),
        nn.ReLU(),
        nn.Linear(20, 5),
    )
    return read(net, torch.rand(1, 3, 8, 8))


def test_demand_by_hand() -> None:
    # Conv 1: 4 channels x 64 positions x windows 3x3 of 3 channels. Conv 2: 6 x 16 x 4x4 of 4, then 6x6 of 3 channels.
    # Linear 1: 20 x all of 3x8x8 or 4x8x8. Linear 2: 5 x 4x8x8. The largest is conv 2: 6 * 16 * 108.
    assert 6 * 16 * 6 * 6 * 3 == 10368
    assert Block.within(network(), 10368) == Block(examples=1, channels=6)
    assert Block.within(network(), 10367) == Block(examples=1, channels=5)
    assert Block.within(network(), 3 * 10368 + 1) == Block(examples=3, channels=18)


def test_relu_on_the_images_themselves_needs_one_coefficient_each() -> None:
    alone = read(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.rand(1, 3, 2, 2))
    # The ReLU: 3 channels x 4 pixels. The end: 2 classes x all 12 pixels.
    assert Block.within(alone, 24) == Block(examples=1, channels=2)


def test_smallest_block() -> None:
    assert Block.within(network(), 1) == Block(examples=1, channels=1)


@pytest.mark.parametrize("budget", [1, 2000, 5000, 10368, 50000])
def test_no_window_tensor_is_larger_than_promised(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block, largest, take = Block.within(network(), budget), 0, windows.take

    def watched(field: Tensor, spans: windows.Spans) -> Tensor:
        nonlocal largest
        found = take(field, spans)
        largest = max(largest, found.numel())
        return found

    sizes: list[int] = []
    times = windows.Rows.times

    def measured(rows: windows.Rows, field: Tensor) -> windows.Rows:
        result = times(rows, field)
        sizes.append(result.values.numel())
        return result

    monkeypatch.setattr(windows.Rows, "times", measured)
    monkeypatch.setattr(windows, "take", watched)
    x = torch.rand(block.examples, 3, 8, 8)
    ball = Ball(x, x.new_full((block.examples,), 0.1))
    margin_bounds(network(), ball, torch.zeros(block.examples, dtype=torch.long), block.channels)
    smallest = 16 * 108
    assert 0 < max(sizes) <= max(budget, smallest)
    assert largest <= max(budget, smallest)

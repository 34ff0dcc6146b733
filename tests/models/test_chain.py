from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from rcframe.models.chain import Chain, ChainBuilder

Step = Callable[[ChainBuilder], ChainBuilder]
STEPS: dict[str, Step] = {
    "conv": lambda grow: grow.conv(3),
    "valid": lambda grow: grow.conv(2, padding=0),
    "stride": lambda grow: grow.conv(4, kernel=4, stride=2),
    "large": lambda grow: grow.conv(2, kernel=5, padding=0, bias=False),
    "point": lambda grow: grow.conv(2, kernel=1, padding=1),
    "norm": lambda grow: grow.norm(),
    "relu": lambda grow: grow.relu(),
    "max": lambda grow: grow.max_pool(),
    "mean": lambda grow: grow.average_pool(),
    "drop": lambda grow: grow.dropout(0.5),
    "shrink": lambda grow: grow.shrink(3),
}


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8),
    channels=st.integers(1, 3),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
)
def test_the_shape_kept_on_paper_is_the_real_one(steps: list[str], channels: int, height: int, width: int) -> None:
    grow = ChainBuilder((channels, height, width))
    for step in steps:
        STEPS[step](grow)
    x = torch.randn(2, channels, height, width)
    assert grow.chain()(x).shape == (2, *grow.shape)
    assert grow.linear(7).norm().relu().classifier(5)(x).shape == (2, 5)


def test_layers_are_numbered_by_kind() -> None:
    grow = ChainBuilder((3, 8, 8)).conv(4).norm().relu().max_pool().conv(4).relu().tap()
    chain = grow.shrink(1).linear(6).norm().relu().dropout(0.1).classifier(2)
    names = "conv1 bn1 relu1 pool1 conv2 relu2 pool2 flatten fc1 bn2 relu3 drop1 fc2"
    assert [name for name, _ in chain.named_children()] == names.split()
    assert chain.taps == ("relu2",)
    assert isinstance(chain.bn1, nn.BatchNorm2d)
    assert isinstance(chain.bn2, nn.BatchNorm1d)


def test_a_kernel_that_does_not_fit_is_padded() -> None:
    fits, padded = (
        ChainBuilder((1, side, 9)).conv(1, kernel=5, padding=0).chain().get_submodule("conv1") for side in (5, 4)
    )
    assert isinstance(fits, nn.Conv2d)
    assert isinstance(padded, nn.Conv2d)
    assert (fits.padding, padded.padding) == ((0, 0), (2, 2))


def test_pooling_stops_at_one_pixel() -> None:
    grow = ChainBuilder((1, 5, 64))
    for _ in range(4):
        grow.max_pool()
    assert grow.shape == (1, 1, 16)
    assert len(grow.chain()) == 2


@pytest.mark.parametrize(
    ("shape", "limit", "shrunk"),
    [((2, 8, 8), 8, None), ((2, 9, 4), 8, (8, 4)), ((2, 1, 1), 1, None), ((2, 3, 5), 1, (1, 1))],
)
def test_shrinking_averages_only_what_is_larger(
    shape: tuple[int, int, int], limit: int, shrunk: tuple[int, int] | None
) -> None:
    chain = ChainBuilder(shape).shrink(limit).chain()
    x = torch.randn(2, *shape)
    wanted = x if shrunk is None else nn.functional.adaptive_avg_pool2d(x, shrunk)
    assert len(chain) == (shrunk is not None)
    torch.testing.assert_close(chain(x), wanted)


def test_a_dropout_of_zero_is_no_layer() -> None:
    assert len(ChainBuilder((1, 4, 4)).dropout(0).chain()) == 0
    dropout = ChainBuilder((1, 4, 4)).dropout(0.25).chain().get_submodule("drop1")
    assert isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.25


def test_pools_take_the_maximum_and_the_mean() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert ChainBuilder((1, 2, 2)).max_pool().chain()(x).item() == 6
    assert ChainBuilder((1, 2, 2)).average_pool().chain()(x).item() == 3


@pytest.mark.parametrize("bias", [True, False])
def test_the_classifier_keeps_its_order(bias: bool) -> None:
    chain = ChainBuilder((2, 1, 1)).classifier(3, [4, 5], bias=bias, dropout=0.5)
    names = ["flatten", "fc1", "relu1", "drop1", "fc2", "relu2", "drop2", "fc3"]
    assert [name for name, _ in chain.named_children()] == names
    shapes = [tuple(p.shape) for p in chain.parameters() if p.dim() == 2]
    assert shapes == [(4, 2), (5, 4), (3, 5)]
    assert any(p.dim() == 1 for p in chain.parameters()) is bias


def test_blocks_divide_the_map_and_round_up() -> None:
    grow = ChainBuilder((3, 9, 4)).block("layer1", nn.Conv2d(3, 5, 3, 2, 1), 5, 2).tap()
    assert grow.shape == (5, 5, 2)
    assert grow.chain().taps == ("layer1",)


def test_a_slice_of_a_chain_is_a_chain() -> None:
    chain = ChainBuilder((1, 4, 4)).conv(2).relu().tap().classifier(3)
    part = chain[:2]
    assert isinstance(part, Chain)
    assert part(torch.randn(1, 1, 4, 4)).shape == (1, 2, 4, 4)

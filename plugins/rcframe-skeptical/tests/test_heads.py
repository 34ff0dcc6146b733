from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from rcframe_skeptical.heads import (
    Gate,
    SeparableConv,
    Shape,
    initialise,
    plain_head,
    separable_head,
)
from torch import Tensor, nn

#: The taps of a ResNet-18 on 32x32 images, shallowest first.
RESNET18: tuple[Shape, ...] = ((64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4))


def widths_and_strides(head: nn.Module) -> list[tuple[int, int, int]]:
    """Return (in, out, stride) of every separable convolution behind the gate."""
    assert isinstance(head, nn.Sequential)
    found = []
    for part in head:
        if isinstance(part, SeparableConv):
            first, last = part[0], part[5]
            assert isinstance(first, nn.Conv2d)
            assert isinstance(last, nn.Conv2d)
            found.append((first.in_channels, last.out_channels, first.stride[0]))
    return found


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, [(64, 128, 2), (128, 256, 2), (256, 512, 2)]),
        (1, [(128, 256, 2), (256, 512, 2)]),
        (2, [(256, 512, 2)]),
        (3, []),
    ],
)
def test_heads_of_a_resnet18_have_the_papers_layers(depth: int, expected: list[tuple[int, int, int]]) -> None:
    head = separable_head(RESNET18[depth], RESNET18[depth + 1 :], 10)
    assert widths_and_strides(head) == expected
    assert isinstance(head, nn.Sequential)
    assert isinstance(head[0], Gate)
    last = head[-1]
    assert isinstance(last, nn.Linear)
    assert (last.in_features, last.out_features) == (512, 10)
    assert head(torch.zeros(2, *RESNET18[depth])).shape == (2, 10)


def test_a_head_keeps_the_size_where_the_student_does() -> None:
    head = separable_head((8, 4, 4), [(16, 4, 4), (24, 2, 2), (24,)], 3)
    assert widths_and_strides(head) == [(8, 16, 1), (16, 24, 2)]


def test_a_separable_convolution_is_made_of_the_papers_layers() -> None:
    kinds = [type(part) for part in SeparableConv(4, 6, 2)]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    convolutions = [part for part in SeparableConv(4, 6, 2) if isinstance(part, nn.Conv2d)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.groups) for c in convolutions]
    assert shapes == [(4, 4, 3, 2, 4), (4, 4, 1, 1, 1), (4, 4, 3, 1, 4), (4, 6, 1, 1, 1)]
    assert all(convolution.bias is None for convolution in convolutions)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1)])
def test_the_gate_weighs_by_one_half_to_one_at_the_size_of_the_map(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.rand(4, 3, *size) + 0.5
    weighed = Gate(3)(features).detach()
    assert weighed.shape == features.shape
    ratio = weighed / features
    assert 0.5 <= float(ratio.min()) <= float(ratio.max()) < 1
    assert size == (1, 1) or float(ratio.max()) > 0.5


class HalfSize(nn.Module):
    """An attention computed by averaging pairs, so that the gate's own part can be followed by hand."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 2)


def test_the_gate_is_the_sigmoid_of_an_upsampled_map() -> None:
    gate = Gate(1)
    gate.attention = nn.Sequential(HalfSize())
    features = torch.tensor([[[[0.0, 0.0, 4.0, 4.0]] * 2]])
    # Bilinear upsampling of (0, 4) to four places, edges repeated: 0, 1, 3, 4.
    weights = [1 / (1 + math.exp(-value)) for value in (0, 1, 3, 4)]
    assert gate(features)[0, 0, 0].tolist() == pytest.approx([0, 0, 4 * weights[2], 4 * weights[3]])


def test_a_plain_head_has_one_convolution_to_the_last_map() -> None:
    head = plain_head((8, 8, 8), [(16, 4, 4), (32, 2, 2), (7,)], 3)
    convolutions = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions] == [(8, 32, 4)]
    assert head(torch.zeros(2, 8, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("build", [plain_head, separable_head])
def test_heads_take_the_deepest_tap_and_vectors_too(build: Callable[..., nn.Module]) -> None:
    assert build((8, 4, 4), [], 3)(torch.zeros(2, 8, 4, 4)).shape == (2, 3)
    vector = build((8,), [(4,)], 3)
    assert isinstance(vector, nn.Linear)
    assert vector.in_features == 8


def test_convolutions_start_he_normal_by_fan_out() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(64)
    head = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Conv2d(64, 64, 3, groups=64), norm)
    initialise(head)
    spreads = [float(p.detach().std()) for p in head.parameters() if p.dim() == 4]
    # Fan out is (channels out) x 3 x 3; a depthwise convolution is counted as its weight's first dimension.
    assert spreads == pytest.approx([math.sqrt(2 / (64 * 9))] * 2, rel=0.1)
    assert norm.weight.tolist() == [1] * 64

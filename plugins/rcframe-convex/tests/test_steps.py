"""Every layer's transpose against the layer itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from rcframe_convex.network import step_of
from rcframe_convex.steps import Map, Rectifier, Unsupported
from rcframe_convex.windows import Shape, unit_rows
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalize


def outputs_read_from_the_input(layers: list[nn.Module], z: Tensor) -> Tensor:
    """Return what the layers compute, as functions of the input that their transposes built, biases added."""
    maps: list[tuple[Map, Shape]] = []
    out, origin = z, torch.zeros_like(z)
    for layer in layers:
        step = step_of(layer.eval())
        assert isinstance(step, Map)
        maps.append((step, (out.shape[1], out.shape[2], out.shape[3])))
        out, origin = step.forward(out), step.forward(origin)
    rows = unit_rows(range(out.shape[1]), (out.shape[1], out.shape[2], out.shape[3]), z)
    for step, shape in reversed(maps):
        rows = step.pull(rows, shape)
    return rows.at(z).permute(0, 3, 1, 2) + origin


def check(layers: list[nn.Module], z: Tensor) -> None:
    expected = nn.Sequential(*layers).eval()(z)
    computed = outputs_read_from_the_input(layers, z)
    torch.testing.assert_close(computed.reshape(expected.shape), expected, atol=1e-10, rtol=1e-10)


def image(*shape: int) -> Tensor:
    return torch.randn(2, *shape, dtype=torch.float64)


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_convolution(
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    shape: tuple[int, int],
) -> None:
    room = [n + 2 * p - d * (k - 1) for n, p, d, k in zip(shape, padding, dilation, size, strict=True)]
    assume(min(room) > 0)
    layer = nn.Conv2d(2, 4, size, stride, padding, dilation, groups).double()
    check([layer], image(2, *shape))


@pytest.mark.parametrize("width", [15, 16, 17, 18])
def test_stacks_of_strided_convolutions_on_every_width(width: int) -> None:
    # 17 wide, kernel 4, stride 2, padding 1 gives 8: transposing without care gives 16 instead of 17.
    layers: list[nn.Module] = [
        nn.Conv2d(1, 2, 4, 2, 1),
        nn.Conv2d(2, 3, 3, 1, 1),
        nn.Conv2d(3, 2, 4, 2, 1, bias=False),
        nn.Conv2d(2, 2, 3, 1, 2, 2),
    ]
    check([layer.double() for layer in layers], image(1, 11, width))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_padding_by_name(padding: str, size: int) -> None:
    check([nn.Conv2d(1, 2, size, padding=padding, dilation=2).double()], image(1, 8, 9))


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AvgPool2d((2, 3), stride=(1, 2), divisor_override=5),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False, divisor_override=4),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveAvgPool2d((None, 4)),
        nn.Identity(),
        nn.Dropout(0.5),
        nn.Dropout2d(0.5),
        nn.Flatten(),
    ],
    ids=str,
)
def test_layers_without_weights(layer: nn.Module) -> None:
    check([layer], image(3, 6, 8))
    check([nn.Conv2d(3, 3, 3, padding=1).double(), layer], image(3, 6, 8))


def normalised(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """Give a batch normalisation statistics and weights that all differ."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.double()
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalisation(affine: bool) -> None:
    check([normalised(nn.BatchNorm2d(3, affine=affine))], image(3, 4, 5))
    tail = [nn.Flatten(), nn.Linear(60, 7).double(), normalised(nn.BatchNorm1d(7, affine=affine))]
    check([nn.Conv2d(3, 3, 3, padding=1).double(), *tail], image(3, 4, 5))


def test_normalisation() -> None:
    check([Normalize([0.1, 0.2], [0.5, 2.0]).double(), nn.Conv2d(2, 1, 3, padding=1).double()], image(2, 3, 3))


def test_linear_layers_with_and_without_bias() -> None:
    linear = nn.Linear(24, 5, bias=False).double()
    check([nn.Flatten(), linear, nn.Linear(5, 3).double()], image(2, 3, 4))


def test_rectifier() -> None:
    step = step_of(nn.ReLU())
    assert isinstance(step, Rectifier)
    assert step.forward(torch.tensor([[[[-1.0, 2.0]]]])).tolist() == [[[[0.0, 2.0]]]]


def test_linear_layer_on_unflattened_images_is_refused() -> None:
    with pytest.raises(RequestError, match=r"put `nn.Flatten\(\)` in front"):
        step_of(nn.Linear(4, 2)).forward(torch.rand(1, 1, 4, 4))


def test_uneven_adaptive_pooling_is_refused() -> None:
    with pytest.raises(Unsupported, match="5x5 to 2x2 has windows of several sizes"):
        step_of(nn.AdaptiveAvgPool2d(2)).forward(torch.rand(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.MaxPool2d(2), "is not linear, conv, ReLU, flatten"),
        (nn.LeakyReLU(), "is not linear"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "`reflect`"),
        (nn.Flatten(0), "flattens axes 0 to -1"),
        (nn.AvgPool2d(2, ceil_mode=True), "several sizes"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), "several sizes"),
        (nn.BatchNorm2d(1, track_running_stats=False), "no running statistics"),
        (nn.Dropout().train(), "drops units in evaluation mode"),
    ],
    ids=str,
)
def test_what_cannot_be_certified(layer: nn.Module, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        step_of(layer)

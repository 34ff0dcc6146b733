from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rcframe.errors import RequestError
from rcframe.models.plain import ConvNet, LeNet5, LeNet300, Mlp
from rcframe.options import build


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 43_446),
        ({"channels": "32+32+64+64", "hidden": "512"}, 253_130),
        ({"channels": "4+8"}, 53_026),
        ({"channels": "4+8", "hidden": "512"}, 268_502),
        ({"channels": "16+32"}, 214_918),
    ],
)
def test_published_parameter_counts_of_convnet(options: dict[str, str], parameters: int) -> None:
    assert count(build(ConvNet, options, "convnet").network((3, 32, 32), 10)) == parameters


def test_convnet_written_out() -> None:
    network = ConvNet(channels=(3, 4), hidden=5).network((2, 8, 12), 3)
    w1, b1, w2, b2, w3, b3, w4, b4 = network.parameters()
    x = torch.randn(4, 2, 8, 12)
    first = F.conv2d(x, w1, b1, stride=2, padding=1).relu()
    second = F.conv2d(first, w2, b2, stride=2, padding=1).relu()
    assert second.shape == (4, 4, 2, 3)
    torch.testing.assert_close(network(x), (second.flatten(1) @ w3.T + b3).relu() @ w4.T + b4)


@pytest.mark.parametrize(
    ("size", "strides"),
    [((32, 32), [2, 2, 2, 2]), ((32, 17), [2, 2, 2, 1]), ((8, 8), [2, 2, 1, 1]), ((5, 64), [2, 1, 1, 1])],
)
def test_convnet_stops_striding_where_the_map_is_narrow(size: tuple[int, int], strides: list[int]) -> None:
    convolutions = [m for m in ConvNet().network((3, *size), 10).modules() if isinstance(m, nn.Conv2d)]
    assert [m.stride[0] for m in convolutions] == strides
    assert [m.kernel_size[0] for m in convolutions] == [4 if stride == 2 else 3 for stride in strides]
    assert all(m.padding == (1, 1) for m in convolutions)


def test_convnet_is_convolution_relu_and_linear_alone() -> None:
    kinds = [type(module) for module in ConvNet().network((3, 32, 32), 10).children()]
    assert kinds == [nn.Conv2d, nn.ReLU] * 4 + [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("hidden", "shape", "parameters"),
    [((180,), (3, 32, 17), 295_750), ((), (1, 8, 8), 650), ((64, 32), (1, 8, 8), 64 * 65 + 65 * 32 + 33 * 10)],
)
def test_parameter_counts_of_mlp(hidden: tuple[int, ...], shape: tuple[int, int, int], parameters: int) -> None:
    assert count(Mlp(hidden=hidden).network(shape, 10)) == parameters


def test_mlp_written_out() -> None:
    network = Mlp(hidden=(5, 4)).network((2, 3, 1), 3)
    w1, b1, w2, b2, w3, b3 = network.parameters()
    x = torch.randn(7, 2, 3, 1)
    hidden = ((x.flatten(1) @ w1.T + b1).relu() @ w2.T + b2).relu()
    torch.testing.assert_close(network(x), hidden @ w3.T + b3)
    assert network.taps == ("relu1", "relu2")


def test_lenets_have_their_published_counts() -> None:
    assert count(LeNet300().network((1, 28, 28), 10)) == 266_610
    assert count(LeNet5().network((1, 28, 28), 10)) == 431_080
    # 6 and 16 channels on 32x32: 156 + 2,416 + 48,120 + 10,164 + 850.
    assert count(LeNet5(channels=(6, 16), hidden=(120, 84)).network((1, 32, 32), 10)) == 61_706


def test_lenet5_written_out() -> None:
    network = LeNet5(channels=(2, 3), hidden=(4,)).network((1, 28, 28), 10)
    w1, b1, w2, b2, w3, b3, w4, b4 = network.parameters()
    x = torch.randn(2, 1, 28, 28)
    first = F.max_pool2d(F.conv2d(x, w1, b1).relu(), 2)
    second = F.max_pool2d(F.conv2d(first, w2, b2).relu(), 2)
    assert second.shape == (2, 3, 4, 4)
    torch.testing.assert_close(network(x), (second.flatten(1) @ w3.T + b3).relu() @ w4.T + b4)


@pytest.mark.parametrize("model", [ConvNet, LeNet5])
def test_a_layer_of_nothing_is_refused(model: type[ConvNet] | type[LeNet5]) -> None:
    with pytest.raises(RequestError, match=r"`channels` .* 4\+0, .* at least 1"):
        model(channels=(4, 0))


@pytest.mark.parametrize("bias_free", [True, False])
def test_default_initial_weights(bias_free: bool) -> None:
    # PyTorch's own: uniform within 1 / sqrt(inputs), for weights and biases alike.
    network = Mlp(hidden=(400,)).network((1, 10, 10), 10)
    values = next(p for p in network.parameters() if (p.dim() == 2) is bias_free)
    assert 0.095 < values.abs().max().item() <= 0.1

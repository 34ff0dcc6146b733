from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.models.preact import PreBlock, ResNet20, ResNet32, WideResNet
from rcframe.networks.taps import tap_shapes
from rcframe.options import build

if TYPE_CHECKING:
    from rcframe.models.base import ZooModel


def count(model: ZooModel) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in model.network((3, 32, 32), 10).parameters())


def normed(x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (ResNet20(), 272_282),
        (ResNet32(), 466_714),
        (WideResNet(), 2_243_546),
        (WideResNet(depth=16, factor=1), 175_066),
        (WideResNet(depth=16, factor=2), 691_674),
        (WideResNet(depth=40, factor=1), 563_930),
        (WideResNet(depth=28, factor=10), 36_479_194),
    ],
)
def test_published_parameter_counts(model: ZooModel, parameters: int) -> None:
    assert count(model) == parameters


@pytest.mark.parametrize(("blocks", "model"), [(3, ResNet20()), (5, ResNet32())])
def test_parameter_counts_from_the_layers(blocks: int, model: ZooModel) -> None:
    def pre_block(a: int, b: int) -> int:
        return 2 * a + 9 * a * b + 2 * b + 9 * b * b + (a * b if a != b else 0)

    stages = sum(pre_block(a, b) + (blocks - 1) * pre_block(b, b) for a, b in ((16, 16), (16, 32), (32, 64)))
    assert count(model) == 27 * 16 + stages + 2 * 64 + 65 * 10


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 8, 2)])
def test_a_block_written_out(inputs: int, outputs: int, stride: int) -> None:
    torch.manual_seed(0)
    block = PreBlock(inputs, outputs, stride)
    for layer in (block.bn1, block.bn2):
        assert layer.running_mean is not None
        layer.running_mean.normal_()
        layer.weight.data.uniform_(0.5, 2)
        layer.bias.data.normal_()
    block.eval()
    x = torch.randn(2, inputs, 7, 6)
    active = normed(x, block.bn1).relu()
    inner = normed(F.conv2d(active, block.conv1.weight, stride=stride, padding=1), block.bn2).relu()
    residual = F.conv2d(inner, block.conv2.weight, padding=1)
    same = inputs == outputs and stride == 1
    assert (block.shortcut is None) is same
    kept = x if block.shortcut is None else F.conv2d(active, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), residual + kept)


def test_the_last_activation_comes_after_the_last_tap() -> None:
    network = ResNet20(width=0.25).network((3, 8, 8), 10)
    names = [name for name, _ in network.named_children()]
    assert names == ["conv1", "layer1", "layer2", "layer3", "bn1", "relu1", "pool1", "flatten", "fc1"]
    assert network.taps == ("layer1", "layer2", "layer3")
    shapes = tap_shapes(network, network.taps, torch.rand(1, 3, 8, 8))
    assert list(shapes.values()) == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]


def test_initial_weights_are_he_normal() -> None:
    torch.manual_seed(0)
    convolution = WideResNet(depth=10).network((3, 8, 8), 10).get_submodule("layer3.0.conv2")
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("depth", [4, 15, 20, 41])
def test_a_depth_that_does_not_divide_into_stages_is_refused(depth: int) -> None:
    with pytest.raises(RequestError, match=f"`depth` of `wideresnet` is {depth}, .* 6n \\+ 4"):
        build(WideResNet, {"depth": depth}, "wideresnet")


@pytest.mark.parametrize(("depth", "blocks"), [(10, 1), (16, 2), (40, 6)])
def test_depth_counts_the_convolutions_of_a_wide_network(depth: int, blocks: int) -> None:
    network = WideResNet(depth=depth, width=1 / 16).network((3, 8, 8), 10)
    found = [module for module in network.modules() if isinstance(module, PreBlock)]
    assert len(found) == 3 * blocks

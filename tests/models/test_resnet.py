from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
import torchvision.models.resnet as theirs
from torch import Tensor, nn

from rcframe.models.residual import bottleneck
from rcframe.models.resnet import ResNet12, ResNet18, ResNet34, ResNet50, ResNext29
from rcframe.networks.taps import tap_shapes, taps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rcframe.models.base import ZooModel


def on_paper(model: ZooModel, classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return model.network((3, 32, 32), classes)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def settle(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(std=0.1)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
    network.eval()


def copy(source: nn.Module, target: nn.Module) -> None:
    """Copy weights and statistics in the order of the layers."""
    values = source.state_dict().values()
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))
    target.eval()


@pytest.mark.parametrize(
    ("model", "parameters"),
    [(ResNet18(), 11_173_962), (ResNet34(), 21_282_122), (ResNet50(), 23_520_842), (ResNext29(), 34_426_698)],
    ids=["18", "34", "50", "next29"],
)
def test_published_parameter_counts(model: ZooModel, parameters: int) -> None:
    assert count(on_paper(model)) == parameters


@pytest.mark.parametrize(
    ("ours", "make"),
    [(ResNet18(), theirs.resnet18), (ResNet34(), theirs.resnet34), (ResNet50(), theirs.resnet50)],
    ids=["18", "34", "50"],
)
def test_resnets_equal_those_of_torchvision_with_a_small_stem(
    ours: ResNet18, make: Callable[..., theirs.ResNet]
) -> None:
    torch.manual_seed(0)
    network, other = ours.network((3, 17, 24), 7), make(num_classes=7)
    other.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    other.maxpool = nn.Identity()
    settle(network)
    copy(network, other)
    x = torch.randn(2, 3, 17, 24)
    torch.testing.assert_close(network(x), other(x), rtol=1e-4, atol=1e-5)


def test_grouped_bottleneck_equals_that_of_torchvision() -> None:
    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.Conv2d(6, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    other = theirs.Bottleneck(6, 4, stride=2, downsample=shortcut, groups=8, base_width=32)
    ours = bottleneck(6, 16, 2, inner=16, groups=8)
    settle(ours)
    copy(ours, other)
    x = torch.randn(2, 6, 9, 8)
    torch.testing.assert_close(ours(x), other(x))


def test_resnext_groups_and_channels() -> None:
    network = on_paper(ResNext29())
    grouped = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.out_channels for m in grouped] == [512] * 3 + [1024] * 3 + [2048] * 3
    assert [m.stride[0] for m in grouped] == [1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert {m.groups for m in grouped} == {8}
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [10]


@pytest.mark.parametrize(
    ("model", "channels", "sides"),
    [
        (ResNet18(width=0.125), (8, 16, 32, 64), (32, 16, 8, 4)),
        (ResNet50(width=0.125), (32, 64, 128, 256), (32, 16, 8, 4)),
        (ResNext29(width=0.125), (32, 64, 128), (32, 16, 8)),
        (ResNet12(width=0.125), (8, 8, 16, 32, 64), (16, 16, 8, 4, 2)),
    ],
    ids=["18", "50", "next29", "12"],
)
def test_shapes_of_the_taps(model: ZooModel, channels: tuple[int, ...], sides: tuple[int, ...]) -> None:
    network = model.network((3, 32, 32), 10)
    shapes = tap_shapes(network, taps_of(network), torch.rand(1, 3, 32, 32))
    assert list(shapes.values()) == [(c, s, s) for c, s in zip(channels, sides, strict=True)]


def test_taps_are_activated() -> None:
    network = ResNet18(width=0.125).network((3, 8, 8), 10)
    outputs: list[Tensor] = []
    for tap in network.taps:
        network.get_submodule(tap).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    network(torch.randn(2, 3, 8, 8))
    assert [bool((output >= 0).all()) for output in outputs] == [True] * 4


def test_resnet12_written_out() -> None:
    torch.manual_seed(0)
    network = ResNet12(width=1 / 16).network((3, 32, 32), 5).eval()
    weights = dict(network.named_parameters())
    x = out = torch.randn(2, 3, 32, 32)
    for number in (1, 2, 3):
        out = F.conv2d(out, weights[f"conv{number}.weight"], padding=1).relu()
    out = F.avg_pool2d(out, 2)
    for number, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        name = f"block{number}"
        changed = F.conv2d(out, weights[f"{name}.body.conv1.weight"], stride=stride, padding=1).relu()
        changed = F.conv2d(changed, weights[f"{name}.body.conv2.weight"], padding=1)
        kept = out if number == 1 else F.conv2d(out, weights[f"{name}.shortcut.weight"], stride=stride)
        out = (changed + kept).relu()
    assert out.shape == (2, 32, 2, 2)
    torch.testing.assert_close(network(x), out.flatten(1) @ weights["fc1.weight"].T)


def test_resnet12_has_no_bias_and_no_normalisation() -> None:
    network = on_paper(ResNet12())
    stem = 9 * 64 * (3 + 64 + 64)
    blocks = sum(
        9 * (a * b + b * b) + (a * b if a != b else 0) for a, b in ((64, 64), (64, 128), (128, 256), (256, 512))
    )
    assert count(network) == stem + blocks + 2048 * 10
    assert not any(isinstance(m, nn.BatchNorm2d | nn.MaxPool2d) for m in network.modules())
    assert len([m for m in network.modules() if isinstance(m, nn.Dropout)]) == 2 + 4
    assert not any(isinstance(m, nn.Dropout) for m in on_paper(ResNet12(dropout=0.0)).children())


def test_initial_weights_follow_the_publication() -> None:
    torch.manual_seed(0)
    spiking = ResNet12(width=0.5).network((3, 32, 32), 10)
    convolution, linear = spiking.get_submodule("block4.body.conv2"), spiking.get_submodule("fc1")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    assert convolution.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
    plain = ResNet18(width=0.5).network((3, 32, 32), 10).get_submodule("layer4.1.body.conv2")
    assert isinstance(plain, nn.Conv2d)
    assert plain.weight.abs().max().item() <= (9 * 256) ** -0.5
    grouped = ResNext29(width=0.25).network((3, 8, 8), 10).get_submodule("layer3.0.body.conv2")
    assert isinstance(grouped, nn.Conv2d)
    assert grouped.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)

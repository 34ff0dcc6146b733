from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.models.small import BlockNet, Cnn, DigitNet
from rcframe.networks.taps import tap_shapes


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def settled(network: nn.Module) -> nn.Module:
    """Give batch normalisations statistics and factors that show where they stand."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.bias.data.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            # Of either sign, since maxima commute with a normalisation that keeps the order.
            module.weight.data.uniform_(-2, 2)
    return network.eval()


def normed(x: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)


def test_cnn_has_the_count_of_its_layers() -> None:
    convolutions = (3 * 9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 128
    normalisations = 2 * (32 + 64 + 128 + 128)
    assert count(Cnn().network((3, 32, 32), 10)) == convolutions + normalisations + 2049 * 128 + 129 * 10 == 357_514


def test_cnn_written_out() -> None:
    torch.manual_seed(0)
    network = settled(Cnn(width=1 / 32).network((3, 16, 16), 4))
    x = out = torch.randn(3, 3, 16, 16)
    for depth in (1, 2, 3):
        convolution = network.get_submodule(f"conv{depth}")
        assert isinstance(convolution, nn.Conv2d)
        out = F.conv2d(out, convolution.weight, convolution.bias, padding=1)
        out = F.max_pool2d(normed(out, network.get_submodule(f"bn{depth}")), 2).relu()
    hidden, last = network.get_submodule("fc1"), network.get_submodule("fc2")
    wanted = last(normed(hidden(out.flatten(1)), network.get_submodule("bn4")).relu())
    torch.testing.assert_close(network(x), wanted)


def test_digitnet_is_a_teacher_and_with_other_options_a_student() -> None:
    teacher = DigitNet().network((1, 8, 8), 10)
    assert count(teacher) == 10 * 16 + 32 + 145 * 32 + 64 + (512 + 1) * 64 + 65 * 10
    kinds = [type(module).__name__ for module in teacher.children()]
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [*block, "MaxPool2d", *block, "Flatten", "Linear", "ReLU", "Linear"]
    student = DigitNet(channels=(8,), hidden=()).network((1, 8, 8), 10)
    assert [type(m).__name__ for m in student.children()] == [*block, "MaxPool2d", "Flatten", "Linear"]
    assert count(student) == 80 + 16 + (8 * 16 + 1) * 10


def test_blocknet_halves_the_map_twice_and_averages_it() -> None:
    network = BlockNet().network((1, 8, 8), 10)
    assert count(network) == sum((9 * a + 3) * b for a, b in ((1, 8), (8, 16), (16, 16), (16, 32))) + 330
    shapes = tap_shapes(network, network.taps, torch.rand(2, 1, 8, 8))
    assert list(shapes.values()) == [(8, 4, 4), (16, 4, 4), (16, 2, 2), (32, 2, 2)]


def test_blocknet_written_out() -> None:
    torch.manual_seed(0)
    network = settled(BlockNet(width=0.25).network((1, 8, 8), 3))
    x = out = torch.randn(2, 1, 8, 8)
    for depth in (1, 2, 3, 4):
        convolution = network.get_submodule(f"conv{depth}")
        assert isinstance(convolution, nn.Conv2d)
        out = F.conv2d(out, convolution.weight, convolution.bias, padding=1)
        out = normed(out, network.get_submodule(f"bn{depth}")).relu()
        out = F.max_pool2d(out, 2) if depth % 2 else out
    torch.testing.assert_close(network(x), network.get_submodule("fc1")(out.mean(dim=(2, 3))))

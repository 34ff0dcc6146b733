from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rcframe.models.shallow import ShallowCnn, ThesisCifar, ThesisSvhn

SVHN, CIFAR = (3, 32, 17), (3, 32, 32)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def kinds(network: nn.Module) -> str:
    words = {"Conv2d": "C", "ReLU": "r", "MaxPool2d": "P", "Dropout": "d", "Flatten": "_", "Linear": "L"}
    return "".join(words[type(module).__name__] for module in network.children())


def test_teachers_have_their_published_counts_and_layers() -> None:
    svhn, cifar = ThesisSvhn().network(SVHN, 10), ThesisCifar().network(CIFAR, 10)
    assert count(svhn) == 235_050
    assert count(cifar) == 550_570
    assert kinds(svhn) == "CrCrPdCrCrPd_LrdL"
    assert kinds(cifar) == "CrCrPdCrCrPdCrCrPd_LrdL"
    assert [m.p for m in svhn.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3, 0.3]
    assert [m.p for m in cifar.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.3, 0.4, 0.5]
    assert {m.padding for m in svhn.modules() if isinstance(m, nn.Conv2d)} == {(0, 0)}
    assert {m.padding for m in cifar.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}


@pytest.mark.parametrize(
    ("channels", "hidden", "shape", "parameters"),
    [
        ((4,), 512, SVHN, 220_794),
        ((32, 32), 512, SVHN, 212_394),
        ((64, 128), 512, SVHN, 867_722),
        ((37, 82), 512, SVHN, 537_874),
        ((16,), 128, CIFAR, 462_666),
        ((64, 128), 128, CIFAR, 666_890),
        ((64, 512), 128, CIFAR, 2_657_930),
        ((63, 170), 128, CIFAR, 883_102),
    ],
)
def test_students_have_their_published_counts(
    channels: tuple[int, ...], hidden: int, shape: tuple[int, int, int], parameters: int
) -> None:
    assert count(ShallowCnn(channels=channels, hidden=hidden).network(shape, 10)) == parameters


@pytest.mark.parametrize("padding", [0, 1])
def test_a_student_written_out(padding: int) -> None:
    network = ShallowCnn(channels=(3, 4), hidden=5, padding=padding).network(SVHN, 6)
    w1, b1, w2, b2, w3, b3, w4, b4 = network.parameters()
    x = torch.randn(2, *SVHN)
    first = F.max_pool2d(F.conv2d(x, w1, b1, padding=padding).relu(), 2)
    second = F.max_pool2d(F.conv2d(first, w2, b2, padding=padding).relu(), 2)
    torch.testing.assert_close(network(x), (second.flatten(1) @ w3.T + b3).relu() @ w4.T + b4)
    assert network.taps == ("pool1", "pool2")


@pytest.mark.parametrize("model", [ThesisSvhn, ThesisCifar])
def test_dropout_acts_in_training_only(model: type[ThesisSvhn] | type[ThesisCifar]) -> None:
    torch.manual_seed(0)
    network, x = model(width=0.25).network(CIFAR, 10), torch.rand(2, *CIFAR)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_taps_come_before_the_dropouts() -> None:
    network = ThesisSvhn(width=0.25).network(SVHN, 10)
    names = [name for name, _ in network.named_children()]
    assert [names[names.index(tap) + 1] for tap in network.taps] == ["drop1", "drop2"]

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.models.libraries import TimmModel, TorchvisionModel
from rcframe.networks.normalize import Normalized
from rcframe.options import build

InfoOf = Callable[[tuple[int, int, int], int], DataInfo]


def test_a_network_of_torchvision_has_our_classes_and_normalisation(info_of: InfoOf) -> None:
    info = info_of((3, 32, 32), 7)
    network = build(TorchvisionModel, {"": "squeezenet1_1"}, "torchvision").build(info).eval()
    assert isinstance(network, Normalized)
    assert type(network.net).__name__ == "SqueezeNet"
    x = torch.rand(2, 3, 32, 32)
    assert network(x).shape == (2, 7)
    torch.testing.assert_close(network(x), network.net((x - torch.tensor(info.mean).view(3, 1, 1)) / 0.25))


def test_torchvision_weights_are_random(info_of: InfoOf) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(TorchvisionModel(network="mobilenet_v3_small").build(info_of((3, 32, 32), 2)).parameters())

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_outputs_return_logits_while_training(name: str, info_of: InfoOf) -> None:
    network = TorchvisionModel(network=name).build(info_of((3, 96, 96), 3))
    assert network.training
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet181", "fasterrcnn_resnet50_fpn", ""])
def test_torchvision_names_are_checked(name: str, info_of: InfoOf) -> None:
    with pytest.raises(RequestError, match=f"torchvision has no model `{name}`"):
        TorchvisionModel(network=name).build(info_of((3, 32, 32), 2))


def test_a_near_name_is_suggested(info_of: InfoOf) -> None:
    with pytest.raises(RequestError, match=r"Did you mean `resnet18`\?"):
        TorchvisionModel(network="resnet-18").build(info_of((3, 32, 32), 2))


def test_torchvision_reads_three_channels_only(info_of: InfoOf) -> None:
    with pytest.raises(RequestError, match="read 3 channels, but the images of `toys` have 1"):
        TorchvisionModel().build(info_of((1, 32, 32), 2))


class FakeTimm(ModuleType):
    """Stands in for timm: one model whose first convolution takes any number of channels."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.asked: list[SimpleNamespace] = []

    def list_models(self) -> list[str]:
        return ["tiny", "huge"]

    def create_model(self, name: str, *, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        self.asked.append(SimpleNamespace(name=name, pretrained=pretrained))
        return nn.Sequential(nn.Conv2d(in_chans, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_network_of_timm_has_our_channels_and_classes(info_of: InfoOf, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", timm)
    network = build(TimmModel, {"": "tiny"}, "timm").build(info_of((1, 8, 8), 4))
    assert isinstance(network, Normalized)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 4)
    assert timm.asked == [SimpleNamespace(name="tiny", pretrained=False)]
    with pytest.raises(RequestError, match=r"timm has no model `tyni`\. Did you mean `tiny`\?"):
        TimmModel(network="tyni").build(info_of((1, 8, 8), 4))


@pytest.mark.parametrize(
    ("model", "module", "command"),
    [
        (TimmModel(), "timm", r'pip install "rcframe\[timm\]"'),
        (TorchvisionModel(), "torchvision.models", "pip install torchvision"),
    ],
)
def test_a_missing_library_is_one_sentence_with_the_command(
    model: TimmModel | TorchvisionModel,
    module: str,
    command: str,
    info_of: InfoOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=command) as raised:
        model.build(info_of((3, 32, 32), 2))
    assert "\n" not in str(raised.value)

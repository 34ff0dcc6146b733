from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

from rcframe.errors import RequestError
from rcframe.models.vgg import Vgg5, Vgg11, Vgg16
from rcframe.options import build

if TYPE_CHECKING:
    from rcframe.models.chain import Chain


def on_paper(model: Vgg5 | Vgg16, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Chain:
    with torch.device("meta"):
        return model.network(shape, classes)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layout(network: nn.Module) -> str:
    """The layers in short: channels of convolutions, A and M for pools, d for dropouts, F for linear layers."""
    words = []
    for module in network.children():
        if isinstance(module, nn.Conv2d):
            words.append(str(module.out_channels))
        elif isinstance(module, nn.Linear):
            words.append(f"F{module.out_features}")
        else:
            short = {nn.AvgPool2d: "A", nn.MaxPool2d: "M", nn.Dropout: "d", nn.AdaptiveAvgPool2d: "S"}
            words.append(short.get(type(module), ""))
    return " ".join(filter(None, words))


HEAD = "F4096 d F4096 d F10"


def test_vgg5_pools_in_place_of_the_dropout() -> None:
    network = on_paper(Vgg5())
    assert layout(network) == f"64 A 128 d 128 A {HEAD}"
    assert count(network) == 9 * (3 * 64 + 64 * 128 + 128 * 128) + 8192 * 4096 + 4096 * 4096 + 4096 * 10
    assert network.taps == ("pool1", "pool2")


@pytest.mark.parametrize(
    ("variant", "stages"),
    [
        ("1-2-3-2", "64 A 128 d 256 A 512 d 512 d 512 A 512 d 512 d"),
        ("1-2-2-1-2", "64 A 128 d 256 A 512 d 512 A 512 A 512 d 512 d"),
        ("1-3-3-2", "64 A 128 d 256 d 256 A 512 d 512 d 512 A 512 d 512 d"),
    ],
)
def test_the_three_networks_called_vgg11(variant: str, stages: str) -> None:
    network = on_paper(build(Vgg11, {"variant": variant}, "vgg11"))
    assert layout(network) == f"{stages} {HEAD}"
    pools = stages.count("A")
    assert network.taps[:-1] == tuple(f"pool{number + 1}" for number in range(pools))
    assert network.taps[-1] == f"relu{9 if variant == '1-3-3-2' else 8}"


def test_the_default_vgg11_has_three_convolutions_in_its_third_stage() -> None:
    assert layout(on_paper(Vgg11())).startswith("64 A 128 d 256 A 512 d 512 d 512 A")
    with pytest.raises(RequestError, match=r"`variant` of `vgg11` .* one of 1-2-3-2"):
        build(Vgg11, {"variant": "1-2-3"}, "vgg11")


@pytest.mark.parametrize("model", [Vgg5(), Vgg11()])
def test_spiking_forms_have_no_biases_and_only_relus(model: Vgg5) -> None:
    network = on_paper(model)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.MaxPool2d) for m in network.modules())
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    dropouts = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert set(dropouts) == {0.2}


def test_options_of_the_spiking_forms() -> None:
    network = on_paper(Vgg5(batch_norm=True, hidden=(50,), dropout=0.0))
    assert layout(network) == "64 A 128 128 A F50 F10"
    kinds = [type(m).__name__ for m in network.children()][:4]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "AvgPool2d"]
    assert layout(on_paper(Vgg5(hidden=(), dropout=0.0))) == "64 A 128 128 A F10"


def test_large_maps_are_averaged_in_front_of_the_hidden_layers() -> None:
    small, large = on_paper(Vgg5()), on_paper(Vgg5(), (3, 224, 224))
    assert count(small) == count(large)
    assert " S F4096" in layout(large)
    assert " S " not in layout(small)


def test_initial_weights_of_the_spiking_forms() -> None:
    torch.manual_seed(0)
    network = Vgg5(hidden=(64,)).network((3, 32, 32), 10)
    stds = [m.weight.std().item() for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert stds == pytest.approx([(2 / (9 * out)) ** 0.5 for out in (64, 128, 128)], rel=0.05)
    linear = [m.weight.std().item() for m in network.modules() if isinstance(m, nn.Linear)]
    assert linear == pytest.approx([0.01, 0.01], rel=0.1)


def test_vgg16_has_its_published_counts() -> None:
    network = on_paper(Vgg16())
    assert count(network) == 14_728_266
    prunable = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(prunable) == 14_715_584
    assert count(on_paper(Vgg16(batch_norm=False))) == 14_728_266 - 2 * 4224
    assert count(on_paper(Vgg16(), (3, 224, 224))) == 14_728_266


def test_vgg16_equals_that_of_torchvision() -> None:
    torch.manual_seed(0)
    ours, theirs = Vgg16().network((3, 32, 32), 10).eval(), vgg16_bn(num_classes=2).features.eval()
    names = [name for name in ours.state_dict() if not name.startswith("fc")]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), map(ours.state_dict().__getitem__, names), strict=True)))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(x), ours.get_submodule("fc1")(theirs(x).flatten(1)))

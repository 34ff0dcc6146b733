from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, shufflenet_v2_x1_0

from rcframe.models.mobile import MobileNetV2, ShuffleNetV2, ShuffleUnit, Skip
from rcframe.networks.taps import tap_shapes


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


def test_mobilenet_has_the_count_of_the_original_with_what_differs() -> None:
    with torch.device("meta"):
        ours, theirs = MobileNetV2().network((3, 32, 32), 100), mobilenet_v2(num_classes=100)
    biases = sum(m.out_channels for m in ours.modules() if isinstance(m, nn.Conv2d))
    smaller_stem, first_expansion = 27 * 32 - 3 * 32, 32 * 32 + 2 * 32
    assert count(ours) == count(theirs) + biases - smaller_stem + first_expansion == 2_369_380


def test_mobilenet_shapes() -> None:
    network = MobileNetV2(width=0.25).network((3, 32, 32), 10)
    assert network.taps == ("stage2", "stage4", "stage6", "relu2")
    shapes = tap_shapes(network, network.taps, torch.rand(1, 3, 32, 32))
    assert list(shapes.values()) == [(6, 17, 17), (16, 5, 5), (40, 5, 5), (320, 5, 5)]
    assert tap_shapes(network, ["conv1", "stage1"], torch.rand(1, 3, 32, 32))["conv1"] == (8, 34, 34)


def test_mobilenet_blocks_follow_the_table() -> None:
    with torch.device("meta"):
        network = MobileNetV2().network((3, 32, 32), 10)
    stages = [network.get_submodule(f"stage{number}") for number in range(1, 8)]
    assert [len(list(stage.children())) for stage in stages] == [1, 2, 3, 4, 3, 3, 1]
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)
    strides = [m.stride[0] for m in depthwise]
    assert [at for at, stride in enumerate(strides) if stride == 2] == [1, 3, 6]
    # A block keeps its input only where the shape stays: every repeat.
    assert len([m for m in network.modules() if isinstance(m, Skip)]) == 1 + 2 + 3 + 2 + 2


def test_an_inverted_bottleneck_written_out() -> None:
    torch.manual_seed(0)
    network = MobileNetV2(width=0.25).network((3, 16, 16), 10)
    settle(network)
    block = network.get_submodule("stage2.1")
    assert isinstance(block, Skip)
    layers = dict(block.body.named_children())

    def conv(x: Tensor, name: str, groups: int = 1, padding: int = 0) -> Tensor:
        layer = layers[name]
        assert isinstance(layer, nn.Conv2d)
        return F.conv2d(x, layer.weight, layer.bias, padding=padding, groups=groups)

    x = torch.randn(2, 6, 5, 4)
    out = layers["bn1"](conv(x, "conv1")).relu()
    assert out.shape[1] == 36
    out = layers["bn2"](conv(out, "depthwise", 36, 1)).relu()
    out = layers["bn3"](conv(out, "conv2"))
    torch.testing.assert_close(block(x), x + out)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("relu6", nn.ReLU6)])
def test_mobilenet_activations(activation: str, kind: type[nn.Module]) -> None:
    from rcframe.options import build

    network = build(MobileNetV2, {"activation": activation, "width": 0.1}, "mobilenetv2").network((3, 8, 8), 10)
    activations = [type(m) for m in network.modules() if isinstance(m, nn.ReLU | nn.ReLU6)]
    assert activations == [kind] * (2 + 2 * 17)


def test_a_shuffle_unit_interleaves_the_kept_and_the_changed_half() -> None:
    unit = ShuffleUnit(nn.Identity(), nn.Softshrink(10.0))
    x = torch.arange(1.0, 5).view(1, 4, 1, 1)
    assert unit(x).flatten().tolist() == [1, 0, 2, 0]


def test_shufflenet_equals_that_of_torchvision_with_a_small_stem() -> None:
    torch.manual_seed(0)
    ours, theirs = ShuffleNetV2().network((3, 20, 17), 7), shufflenet_v2_x1_0(num_classes=7)
    settle(ours)
    theirs.conv1[0].stride = (1, 1)
    theirs.maxpool = nn.Identity()
    values = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    x = torch.randn(2, 3, 20, 17)
    torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


def test_shufflenet_shapes() -> None:
    with torch.device("meta"):
        assert count(ShuffleNetV2().network((3, 32, 32), 1000)) == 2_278_604
    network = ShuffleNetV2(width=0.25).network((3, 32, 32), 10)
    shapes = tap_shapes(network, network.taps, torch.rand(1, 3, 32, 32))
    # A quarter of 58, 116 and 232 channels a half is 14 (half to even), 29 and 58.
    assert list(shapes.values()) == [(28, 16, 16), (58, 8, 8), (116, 4, 4), (256, 4, 4)]

"""Residual networks with the activation in front of the convolutions: ResNet-20 and -32, wide residual networks."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.models.initial import he_fan_out
from rcframe.models.residual import conv1x1, conv3x3, stage
from rcframe.options import Check, at_least, component, option


class PreBlock(nn.Module):
    """Two 3x3 convolutions, each behind batch normalisation and ReLU, added to the input.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input, without normalisation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else conv1x1(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum (B, outputs, H, W), not activated."""
        activated = self.relu1(self.bn1(x))
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


def preactivated(shape: Shape, classes: int, stem: int, channels: tuple[int, int, int], blocks: int) -> Chain:
    """Return a network of three stages with `blocks` blocks each; its taps are the outputs of the stages."""
    grow = ChainBuilder(shape).conv(stem, bias=False)
    for depth, outputs in enumerate(channels):
        stride = 1 if depth == 0 else 2
        layer = stage(PreBlock, blocks, grow.shape[0], outputs, stride)
        grow.block(f"layer{depth + 1}", layer, outputs, stride).tap()
    network = grow.norm().relu().shrink(1).classifier(classes)
    he_fan_out(network)
    return network


@component
class ResNet20(ZooModel):
    """Pre-activation ResNet-20 with 16, 32, 64 channels: 272,282 parameters for 10 classes."""

    #: Blocks per stage.
    blocks: ClassVar[int] = 3

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the three stages, before the last activation."""
        first = self.scaled(16)
        return preactivated(shape, classes, first, (first, 2 * first, 4 * first), self.blocks)


@component
class ResNet32(ResNet20):
    """Pre-activation ResNet-32 with 16, 32, 64 channels: 466,714 parameters for 10 classes."""

    blocks: ClassVar[int] = 5


@component
class WideResNet(ZooModel):
    """Wide residual network of a depth and a factor on the channels, without dropout; WRN-40-2 by default."""

    depth: int = option(
        default=40,
        help="Number of convolutional layers.",
        check=Check(lambda depth: depth >= 10 and depth % 6 == 4, "6n + 4, such as 16, 28 or 40"),
    )
    factor: int = option(default=2, help="Factor on the 16, 32, 64 channels of the stages.", check=at_least(1))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the three stages, before the last activation."""
        first = self.scaled(16 * self.factor)
        channels = (first, 2 * first, 4 * first)
        return preactivated(shape, classes, self.scaled(16), channels, (self.depth - 4) // 6)

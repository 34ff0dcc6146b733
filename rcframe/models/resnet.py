"""Residual networks in the form for small images: a 3x3 stem without pooling, and an average at the end."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import ClassVar

from torch import nn

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.models.initial import he_fan_out, small_linear
from rcframe.models.residual import Residual, basic, bottleneck, conv1x1, conv3x3, stage
from rcframe.options import between, component, option

#: The widest map that the linear layer of ResNet-12 reads: the one it has on 32x32.
_WIDEST = 2


@component
class ResNet18(ZooModel):
    """ResNet-18 of basic blocks: 11,173,962 parameters for 10 classes."""

    #: Blocks per stage.
    counts: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the four stages."""
        first = self.scaled(64)
        grow = ChainBuilder(shape).conv(first, bias=False).norm().relu()
        for depth, count in enumerate(self.counts):
            stride = 1 if depth == 0 else 2
            inputs, outputs = grow.shape[0], self._outputs(first * 2**depth)
            grow.block(f"layer{depth + 1}", self._stage(count, inputs, outputs, stride), outputs, stride).tap()
        return grow.shrink(1).classifier(classes)

    def _outputs(self, channels: int) -> int:
        return channels

    def _stage(self, count: int, inputs: int, outputs: int, stride: int) -> nn.Module:
        return stage(basic, count, inputs, outputs, stride)


@component
class ResNet34(ResNet18):
    """ResNet-34 of basic blocks: 21,282,122 parameters for 10 classes."""

    counts: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)


@component
class ResNet50(ResNet18):
    """ResNet-50 of bottleneck blocks: 23,520,842 parameters for 10 classes."""

    counts: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)

    def _outputs(self, channels: int) -> int:
        return 4 * channels

    def _stage(self, count: int, inputs: int, outputs: int, stride: int) -> nn.Module:
        return stage(bottleneck, count, inputs, outputs, stride)


@component
class ResNext29(ZooModel):
    """ResNeXt-29 with 8 groups of 64 channels; He's initial weights (fan out)."""

    groups: ClassVar[int] = 8

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the three stages."""
        grow = ChainBuilder(shape).conv(self.scaled(64), bias=False).norm().relu()
        for depth in range(3):
            stride = 1 if depth == 0 else 2
            inner = self.groups * self.scaled(64) * 2**depth
            outputs = self.scaled(256) * 2**depth
            blocks = stage(partial(bottleneck, inner=inner, groups=self.groups), 3, grow.shape[0], outputs, stride)
            grow.block(f"layer{depth + 1}", blocks, outputs, stride).tap()
        network = grow.shrink(1).classifier(classes)
        he_fan_out(network)
        return network


@component
class ResNet12(ZooModel):
    """ResNet-12 for conversion to spikes: no biases, no batch normalisation, average pooling, dropout.

    Three convolutions of 64 with 2x2 means, then one block each of 64, 128, 256 and 512 channels, and a linear layer
    on the map, which is averaged down to 2x2 if it is larger. Initial weights are as in `vgg5`.
    """

    dropout: float = option(default=0.2, help="Probability of the dropouts.", check=between(0, 0.9))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the stem and of the four blocks."""
        first = self.scaled(64)
        grow = ChainBuilder(shape)
        for _ in range(2):
            grow.conv(first, bias=False).relu().dropout(self.dropout)
        grow.conv(first, bias=False).relu().average_pool().tap()
        for depth in range(4):
            stride, inputs, outputs = 1 if depth == 0 else 2, grow.shape[0], first * 2**depth
            grow.block(f"block{depth + 1}", self._block(inputs, outputs, stride), outputs, stride).tap()
        network = grow.shrink(_WIDEST).classifier(classes, bias=False)
        he_fan_out(network)
        small_linear(network)
        return network

    def _block(self, inputs: int, outputs: int, stride: int) -> Residual:
        body = OrderedDict(
            conv1=conv3x3(inputs, outputs, stride),
            relu1=nn.ReLU(),
            drop1=nn.Dropout(self.dropout),
            conv2=conv3x3(outputs, outputs),
        )
        same = stride == 1 and inputs == outputs
        return Residual(nn.Sequential(body), nn.Identity() if same else conv1x1(inputs, outputs, stride))

"""Networks for small devices in the form for small images: MobileNetV2 and ShuffleNetV2."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.models.residual import conv1x1, stage
from rcframe.options import component, option


class Skip(nn.Module):
    """`x + body(x)` on maps (B, C, H, W)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum (B, C, H, W)."""
        added: Tensor = x + self.body(x)
        return added


class ShuffleUnit(nn.Module):
    """One half of the channels passes through `kept`, the other through `changed`; then they are interleaved."""

    def __init__(self, kept: nn.Module, changed: nn.Module) -> None:
        super().__init__()
        self.kept = kept
        self.changed = changed
        self.shuffle = nn.ChannelShuffle(2)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what goes into `kept` and what into `changed`, (B, C / 2, H, W) each."""
        parts = x.chunk(2, dim=1)
        return parts[0], parts[1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the interleaved outputs (B, outputs, H, W) of the two branches."""
        kept, changed = self.halves(x)
        mixed: Tensor = self.shuffle(torch.cat([self.kept(kept), self.changed(changed)], dim=1))
        return mixed


class HalvingShuffleUnit(ShuffleUnit):
    """A shuffle unit that halves the map: both branches read all channels."""

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return all channels (B, C, H, W) for either branch."""
        return x, x


@component
class MobileNetV2(ZooModel):
    """MobileNetV2 for small images: a 1x1 stem with padding 1 and three halvings; convolutions have biases.

    2,369,380 parameters for 100 classes. Seven stages of inverted bottlenecks with expansion 6 (1 in the first).
    """

    activation: Literal["relu", "relu6"] = option(
        default="relu", help="The activation; relu6 is the one of the original network."
    )

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are stages 2, 4, 6 and the last convolution."""
        grow = ChainBuilder(shape).conv(self.scaled(32), kernel=1, padding=1).norm().relu(self._relu)
        table = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 1), (320, 1, 1))
        for number, (count, repeats, stride) in enumerate(table, start=1):
            outputs, block = self.scaled(count), self._narrow if number == 1 else self._expanded
            grow.block(f"stage{number}", stage(block, repeats, grow.shape[0], outputs, stride), outputs, stride)
            if number in (2, 4, 6):
                grow.tap()
        grow.conv(self.scaled(1280), kernel=1, padding=0).norm().relu(self._relu).tap()
        return grow.shrink(1).classifier(classes)

    @property
    def _relu(self) -> type[nn.ReLU | nn.ReLU6]:
        return nn.ReLU if self.activation == "relu" else nn.ReLU6

    def _narrow(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        return self._bottleneck(inputs, inputs, outputs, stride)

    def _expanded(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        return self._bottleneck(inputs, 6 * inputs, outputs, stride)

    def _bottleneck(self, inputs: int, inner: int, outputs: int, stride: int) -> nn.Module:
        body = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, inner, 1),
                bn1=nn.BatchNorm2d(inner),
                relu1=self._relu(),
                depthwise=nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner),
                bn2=nn.BatchNorm2d(inner),
                relu2=self._relu(),
                conv2=nn.Conv2d(inner, outputs, 1),
                bn3=nn.BatchNorm2d(outputs),
            )
        )
        return Skip(body) if stride == 1 and inputs == outputs else body


@component
class ShuffleNetV2(ZooModel):
    """ShuffleNetV2 with 116, 232, 464 and 1024 channels: a 3x3 stem without stride and three halvings."""

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the three stages and the last convolution."""
        grow = ChainBuilder(shape).conv(self.scaled(24), bias=False).norm().relu()
        for number, (count, repeats) in enumerate(((116, 4), (232, 8), (464, 4)), start=2):
            # Units work on halves, so the number of channels stays even at every width.
            outputs = 2 * self.scaled(count // 2)
            grow.block(f"stage{number}", stage(_unit, repeats, grow.shape[0], outputs, 2), outputs, 2).tap()
        grow.conv(self.scaled(1024), kernel=1, padding=0, bias=False).norm().relu().tap()
        return grow.shrink(1).classifier(classes)


def _unit(inputs: int, outputs: int, stride: int) -> ShuffleUnit:
    half = outputs // 2
    if stride == 1:
        return ShuffleUnit(nn.Identity(), _changed(half, half, 1))
    kept = OrderedDict(
        depthwise=_depthwise(inputs, stride),
        bn1=nn.BatchNorm2d(inputs),
        conv=conv1x1(inputs, half),
        bn2=nn.BatchNorm2d(half),
        relu=nn.ReLU(),
    )
    return HalvingShuffleUnit(nn.Sequential(kept), _changed(inputs, half, stride))


def _changed(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=conv1x1(inputs, outputs),
            bn1=nn.BatchNorm2d(outputs),
            relu1=nn.ReLU(),
            depthwise=_depthwise(outputs, stride),
            bn2=nn.BatchNorm2d(outputs),
            conv2=conv1x1(outputs, outputs),
            bn3=nn.BatchNorm2d(outputs),
            relu2=nn.ReLU(),
        )
    )


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)

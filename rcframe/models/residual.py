"""Residual blocks with the activation after the sum, and what they are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

#: Makes a block from its input channels, output channels and stride.
Block = Callable[[int, int, int], nn.Module]


class Residual(nn.Module):
    """`relu(body(x) + shortcut(x))` on maps (B, C, H, W)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum (B, C, H, W)."""
        activated: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return activated


def conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a padded 3x3 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return a shortcut: a normalised 1x1 convolution where the shape changes, the identity elsewhere."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(OrderedDict(conv=conv1x1(inputs, outputs, stride), bn=nn.BatchNorm2d(outputs)))


def basic(inputs: int, outputs: int, stride: int) -> Residual:
    """Return a block of two 3x3 convolutions."""
    body = OrderedDict(
        conv1=conv3x3(inputs, outputs, stride),
        bn1=nn.BatchNorm2d(outputs),
        relu1=nn.ReLU(),
        conv2=conv3x3(outputs, outputs),
        bn2=nn.BatchNorm2d(outputs),
    )
    return Residual(nn.Sequential(body), projection(inputs, outputs, stride))


def bottleneck(inputs: int, outputs: int, stride: int, inner: int | None = None, groups: int = 1) -> Residual:
    """Return a block of 1x1, 3x3 and 1x1 convolutions with `inner` channels, a quarter of `outputs` unless given."""
    inner = outputs // 4 if inner is None else inner
    body = OrderedDict(
        conv1=conv1x1(inputs, inner),
        bn1=nn.BatchNorm2d(inner),
        relu1=nn.ReLU(),
        conv2=conv3x3(inner, inner, stride, groups),
        bn2=nn.BatchNorm2d(inner),
        relu2=nn.ReLU(),
        conv3=conv1x1(inner, outputs),
        bn3=nn.BatchNorm2d(outputs),
    )
    return Residual(nn.Sequential(body), projection(inputs, outputs, stride))


def stage(block: Block, count: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return `count` blocks in a row, the first of which changes the channels and divides the map by `stride`."""
    rest = (block(outputs, outputs, 1) for _ in range(count - 1))
    return nn.Sequential(block(inputs, outputs, stride), *rest)

"""The plainest networks: strided convolutions, fully connected layers, and the two LeNets."""

from __future__ import annotations

from typing import ClassVar

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.options import at_least, component, option


@component
class ConvNet(ZooModel):
    """Convolutions with stride instead of pooling, then one hidden layer; no batch normalisation.

    Every convolution is 4x4 with stride 2 and padding 1 while the map is at least 4 wide, then 3x3 with stride 1. On
    32x32x3 with 10 classes the default has 43,446 parameters. Being made of convolution, ReLU and linear layers
    alone, it can be pruned, certified and made spiking.
    """

    channels: tuple[int, ...] = option(
        default=(16, 16, 32, 32), help="Channels of the convolutions.", check=at_least(1)
    )
    hidden: int = option(default=100, help="Units of the hidden layer.", check=at_least(1))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the ReLUs of the convolutions."""
        grow = ChainBuilder(shape)
        for count in self.channels:
            kernel, stride = (4, 2) if grow.narrowest >= 4 else (3, 1)
            grow.conv(self.scaled(count), kernel, stride).relu().tap()
        return grow.classifier(classes, [self.scaled(self.hidden)])


@component
class Mlp(ZooModel):
    """Fully connected layers on the flattened image."""

    hidden: tuple[int, ...] = option(default=(100,), help="Units of the hidden layers.", check=at_least(1))

    smallest: ClassVar[int] = 1

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the ReLUs."""
        grow = ChainBuilder(shape)
        for units in self.hidden:
            grow.linear(self.scaled(units)).relu().tap()
        return grow.classifier(classes)


@component
class LeNet300(Mlp):
    """LeNet-300-100: two hidden layers; 266,610 parameters on 28x28x1 with 10 classes."""

    hidden: tuple[int, ...] = option(default=(300, 100), help="Units of the hidden layers.", check=at_least(1))


@component
class LeNet5(ZooModel):
    """LeNet-5 with 20 and 50 channels: 431,080 parameters on 28x28x1 with 10 classes.

    Unpadded 5x5 convolutions, each followed by ReLU and 2x2 maxima. `channels=6+16,hidden=120+84` is the older form
    with 6 and 16 channels.
    """

    channels: tuple[int, ...] = option(default=(20, 50), help="Channels of the convolutions.", check=at_least(1))
    hidden: tuple[int, ...] = option(default=(500,), help="Units of the hidden layers.", check=at_least(1))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the poolings."""
        grow = ChainBuilder(shape)
        for count in self.channels:
            grow.conv(self.scaled(count), kernel=5, padding=0).relu().max_pool().tap()
        return grow.classifier(classes, [self.scaled(units) for units in self.hidden])

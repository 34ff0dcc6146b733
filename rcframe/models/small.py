"""Small convolutional networks with batch normalisation."""

from __future__ import annotations

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.options import at_least, component, option


@component
class Cnn(ZooModel):
    """Three blocks of 3x3 convolution, batch normalisation, 2x2 maxima and ReLU, then a normalised hidden layer.

    32, 64, 128 channels and 128 hidden units: 357,514 parameters on 32x32x3 with 10 classes.
    """

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the ReLUs of the blocks."""
        grow = ChainBuilder(shape)
        for count in (32, 64, 128):
            grow.conv(self.scaled(count)).norm().max_pool().relu().tap()
        grow.linear(self.scaled(128)).norm().relu()
        return grow.classifier(classes)


@component
class DigitNet(ZooModel):
    """Blocks of 3x3 convolution, batch normalisation and ReLU, for small images; 2x2 maxima follow the first one."""

    channels: tuple[int, ...] = option(default=(16, 32), help="Channels of the convolutions.", check=at_least(1))
    hidden: tuple[int, ...] = option(default=(64,), help="Units of the hidden layers.", check=at_least(1))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the blocks."""
        grow = ChainBuilder(shape)
        for depth, count in enumerate(self.channels):
            grow.conv(self.scaled(count)).norm().relu()
            if depth == 0:
                grow.max_pool()
            grow.tap()
        return grow.classifier(classes, [self.scaled(units) for units in self.hidden])


@component
class BlockNet(ZooModel):
    """Four blocks of 3x3 convolution, batch normalisation and ReLU with 8, 16, 16, 32 channels, averaged at the end.

    2x2 maxima follow the first and the third block.
    """

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the blocks."""
        grow = ChainBuilder(shape)
        for depth, count in enumerate((8, 16, 16, 32)):
            grow.conv(self.scaled(count)).norm().relu()
            if depth in (0, 2):
                grow.max_pool()
            grow.tap()
        return grow.shrink(1).classifier(classes)

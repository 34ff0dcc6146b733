"""Two deep teachers with dropout and the shallow convolutional students that learn from them.

Source: Barmpas, "Certifying Properties of Deep Networks by Taking them into Shallow Waters" (2020), chapter 8.
"""

from __future__ import annotations

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.options import at_least, component, option


@component
class ThesisSvhn(ZooModel):
    """Four unpadded convolutions and a hidden layer of 512: 235,050 parameters on 32x17x3 with 10 classes."""

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the two poolings."""
        grow = ChainBuilder(shape)
        for count in (32, 64):
            for _ in range(2):
                grow.conv(self.scaled(count), padding=0).relu()
            grow.max_pool().tap().dropout(0.3)
        return grow.classifier(classes, [self.scaled(512)], dropout=0.3)


@component
class ThesisCifar(ZooModel):
    """Six padded convolutions and a hidden layer of 128: 550,570 parameters on 32x32x3 with 10 classes."""

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the three poolings."""
        grow = ChainBuilder(shape)
        for count, dropout in ((32, 0.2), (64, 0.3), (128, 0.4)):
            for _ in range(2):
                grow.conv(self.scaled(count)).relu()
            grow.max_pool().tap().dropout(dropout)
        return grow.classifier(classes, [self.scaled(128)], dropout=0.5)


@component
class ShallowCnn(ZooModel):
    """One or two 3x3 convolutions with ReLU and 2x2 maxima, then one hidden layer.

    With `channels=64+128,hidden=512` it has 867,722 parameters on 32x17x3 with 10 classes.
    """

    channels: tuple[int, ...] = option(default=(64, 128), help="Channels of the convolutions.", check=at_least(1))
    hidden: int = option(default=512, help="Units of the hidden layer.", check=at_least(1))
    padding: int = option(default=0, help="Padding of the convolutions.", check=at_least(0))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the poolings."""
        grow = ChainBuilder(shape)
        for count in self.channels:
            grow.conv(self.scaled(count), padding=self.padding).relu().max_pool().tap()
        return grow.classifier(classes, [self.scaled(self.hidden)])

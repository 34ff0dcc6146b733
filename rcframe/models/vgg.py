"""VGG networks: the bias-free ones with average pooling that become spiking, and VGG-16."""

from __future__ import annotations

from typing import Literal

from rcframe.models.base import Shape, ZooModel
from rcframe.models.chain import Chain, ChainBuilder
from rcframe.models.initial import he_fan_out, small_linear
from rcframe.options import at_least, between, component, option

#: The widest map that the first linear layer reads; VGG-5 has exactly this one on 32x32.
_WIDEST = 8
#: Channels of the convolutions, stage by stage. Three publications mean three networks by "VGG11".
_VGG11 = {
    "1-2-3-2": "64 pool 128 256 pool 512 512 512 pool 512 512",
    "1-2-2-1-2": "64 pool 128 256 pool 512 512 pool 512 pool 512 512",
    "1-3-3-2": "64 pool 128 256 256 pool 512 512 512 pool 512 512",
}


@component
class Vgg5(ZooModel):
    """VGG-5 for conversion to spikes: no biases, average pooling, dropout, two hidden layers.

    Convolutions 64, 128, 128, with 2x2 means in place of the dropout after the first and the last. Convolutions are
    initialised by He's rule (fan out), linear layers with a standard deviation of 0.01. Maps larger than 8x8 are
    averaged down to 8x8 in front of the hidden layers.
    """

    batch_norm: bool = option(default=False, help="Put a batch normalisation behind every convolution.")
    hidden: tuple[int, ...] = option(default=(4096, 4096), help="Units of the hidden layers.", check=at_least(1))
    dropout: float = option(default=0.2, help="Probability of the dropouts.", check=between(0, 0.9))

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the stages."""
        grow = ChainBuilder(shape)
        *stages, rest = self._layout().split("pool")
        for stage in stages:
            self._convolutions(grow, stage)
            grow.average_pool().tap()
        if rest.strip():
            self._convolutions(grow, rest)
            grow.tap().dropout(self.dropout)
        hidden = [self.scaled(units) for units in self.hidden]
        network = grow.shrink(_WIDEST).classifier(classes, hidden, bias=False, dropout=self.dropout)
        he_fan_out(network)
        small_linear(network)
        return network

    def _layout(self) -> str:
        return "64 pool 128 128 pool"

    def _convolutions(self, grow: ChainBuilder, stage: str) -> None:
        for place, count in enumerate(stage.split()):
            if place:
                grow.dropout(self.dropout)
            grow.conv(self.scaled(int(count)), bias=False)
            if self.batch_norm:
                grow.norm()
            grow.relu()


@component
class Vgg11(Vgg5):
    """VGG-11 for conversion to spikes: like VGG-5 with more convolutions and no pooling after the last ones."""

    variant: Literal["1-2-3-2", "1-2-2-1-2", "1-3-3-2"] = option(
        default="1-2-3-2", help="Convolutions per stage; three networks have been published as VGG-11."
    )

    def _layout(self) -> str:
        return _VGG11[self.variant]


@component
class Vgg16(ZooModel):
    """VGG-16 for small images: 13 convolutions, 2x2 maxima, one linear layer; 14,728,266 parameters for 10 classes."""

    batch_norm: bool = option(default=True, help="Put a batch normalisation behind every convolution.")

    def network(self, shape: Shape, classes: int) -> Chain:
        """Return the network; its taps are the outputs of the five poolings."""
        grow = ChainBuilder(shape)
        for count, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(repeats):
                grow.conv(self.scaled(count))
                if self.batch_norm:
                    grow.norm()
                grow.relu()
            grow.max_pool().tap()
        return grow.shrink(1).classifier(classes)

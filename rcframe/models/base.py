"""What the networks of the zoo have in common: a width, a smallest image, and normalisation in front."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rcframe.api import Model
from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalized
from rcframe.options import component, more_than, option

if TYPE_CHECKING:
    from torch import nn

    from rcframe.data.images import DataInfo

#: Channels, height, width.
Shape = tuple[int, int, int]


@component
class ZooModel(Model):
    """A network that adapts to any image size and number of classes."""

    width: float = option(default=1.0, help="Factor on every number of channels and hidden units.", check=more_than(0))

    normalize: bool = option(
        default=True, help="Whether the data set's mean and deviation are taken out of pixels first."
    )

    #: The least height and width that the network makes sense for.
    smallest: ClassVar[int] = 4

    @abstractmethod
    def network(self, shape: Shape, classes: int) -> nn.Module:
        """Return the network for normalised images of `shape`; its attribute `taps` names its depths."""

    def build(self, info: DataInfo) -> nn.Module:
        """Return the network for a data set, with normalisation in front."""
        _, height, width = info.shape
        if min(height, width) < self.smallest:
            raise RequestError(
                f"Model `{type(self).__name__}` needs images of at least {self.smallest}x{self.smallest} pixels, but "
                f"those of `{info.name}` have {height}x{width}: choose larger images, or the model `mlp`."
            )
        network = self.network(info.shape, len(info.classes))
        channels = info.shape[0]
        mean, std = (info.mean, info.std) if self.normalize else ((0.0,) * channels, (1.0,) * channels)
        return Normalized(network, mean, std)

    def scaled(self, count: int) -> int:
        """Return a number of channels or hidden units times `width`, at least one."""
        return max(1, round(count * self.width))

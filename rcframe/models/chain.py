"""Chains of layers, and the builder that grows them while it keeps track of the shapes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Self

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rcframe.models.base import Shape


class Chain(nn.Sequential):
    """Layers applied one after the other; `taps` names those whose outputs are the depths of the network."""

    taps: tuple[str, ...]

    def __init__(self, layers: Mapping[str, nn.Module], taps: Sequence[str] = ()) -> None:
        super().__init__(OrderedDict(layers))
        self.taps = tuple(taps)


class ChainBuilder:
    """Grows a chain layer by layer and knows the shape that leaves the last one.

    Layers are named by kind and number: `conv1`, `bn1`, `relu1`, `pool1`, `drop1`, `flatten`, `fc1`. Layers that a
    small image leaves no room for are adapted or left out, so that every image size gives a network.
    """

    def __init__(self, shape: Shape) -> None:
        #: (C, H, W), or (features,) once flattened.
        self.shape: tuple[int, ...] = shape
        self._layers: dict[str, nn.Module] = {}
        self._taps: list[str] = []
        self._numbers: Counter[str] = Counter()

    @property
    def narrowest(self) -> int:
        """The lesser of the height and width of the map."""
        return min(self.shape[1:])

    def conv(self, channels: int, kernel: int = 3, stride: int = 1, padding: int = 1, *, bias: bool = True) -> Self:
        """Add a convolution; where the kernel does not fit into the map, padding makes room for it."""
        if kernel > self.narrowest + 2 * padding:
            padding = kernel // 2
        inputs, *size = self.shape
        self.shape = (channels, *((side + 2 * padding - kernel) // stride + 1 for side in size))
        return self._add("conv", nn.Conv2d(inputs, channels, kernel, stride, padding, bias=bias))

    def norm(self) -> Self:
        """Add a batch normalisation of the channels or features."""
        kind = nn.BatchNorm1d if len(self.shape) == 1 else nn.BatchNorm2d
        return self._add("bn", kind(self.shape[0]))

    def relu(self, kind: type[nn.ReLU | nn.ReLU6] = nn.ReLU) -> Self:
        """Add a ReLU of its own."""
        return self._add("relu", kind())

    def dropout(self, probability: float) -> Self:
        """Add a dropout, unless its probability is zero."""
        return self._add("drop", nn.Dropout(probability)) if probability else self

    def max_pool(self) -> Self:
        """Halve the map by 2x2 maxima, unless it is a single pixel wide."""
        return self._halve(nn.MaxPool2d(2))

    def average_pool(self) -> Self:
        """Halve the map by 2x2 means, unless it is a single pixel wide."""
        return self._halve(nn.AvgPool2d(2))

    def shrink(self, limit: int) -> Self:
        """Average the map down to at most `limit` x `limit`, unless it is no larger."""
        channels, height, width = self.shape
        if max(height, width) <= limit:
            return self
        self.shape = (channels, min(height, limit), min(width, limit))
        return self._add("pool", nn.AdaptiveAvgPool2d((min(height, limit), min(width, limit))))

    def linear(self, units: int, *, bias: bool = True) -> Self:
        """Add a linear layer, after flattening what is still a map."""
        if len(self.shape) > 1:
            channels, height, width = self.shape
            self.shape = (channels * height * width,)
            self._layers["flatten"] = nn.Flatten()
        inputs, self.shape = self.shape[0], (units,)
        return self._add("fc", nn.Linear(inputs, units, bias=bias))

    def block(self, name: str, module: nn.Module, channels: int, stride: int = 1) -> Self:
        """Add a composite module that divides the map by `stride`, rounding up."""
        self.shape = (channels, *(-(-side // stride) for side in self.shape[1:]))
        self._layers[name] = module
        return self

    def tap(self) -> Self:
        """Make the output of the last layer a tap."""
        self._taps.append(next(reversed(self._layers)))
        return self

    def classifier(self, classes: int, hidden: Sequence[int] = (), *, bias: bool = True, dropout: float = 0) -> Chain:
        """Add hidden linear layers with ReLU and dropout, then the one that gives the logits; return the chain."""
        for units in hidden:
            self.linear(units, bias=bias).relu().dropout(dropout)
        return self.linear(classes, bias=bias).chain()

    def chain(self) -> Chain:
        """Return the chain grown so far."""
        return Chain(self._layers, self._taps)

    def _halve(self, pool: nn.Module) -> Self:
        if self.narrowest < 2:
            return self
        channels, height, width = self.shape
        self.shape = (channels, height // 2, width // 2)
        return self._add("pool", pool)

    def _add(self, kind: str, layer: nn.Module) -> Self:
        self._numbers[kind] += 1
        self._layers[f"{kind}{self._numbers[kind]}"] = layer
        return self

"""The layers that can be certified, each with its transpose: how a linear function of its output reads its input.

Activations keep the shape (B, C, H, W) throughout; flattened ones are (B, features, 1, 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs
import torch.nn.functional as F
from torch import Tensor

from rcframe import RequestError
from rcframe_convex.windows import Kernel, Rows, Shape, Span, Spans

#: The kernels of height and width.
Kernels = tuple[Kernel, Kernel]


class Unsupported(RequestError):
    """A layer that cannot be certified."""


class Step(ABC):
    """One layer."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Return the output (B, C', H', W') for the input (B, C, H, W)."""

    def reach(self, spans: Spans, shape: Shape) -> Spans:
        """Return the windows of its input, of this shape, that windows of its output depend on."""
        return spans


class Map(Step):
    """A layer that is affine in evaluation mode."""

    @abstractmethod
    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Return functions of the output as functions of the input, of this shape, without the bias."""


class Rectifier(Step):
    """A ReLU, the one layer that has to be relaxed."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the positive part of `z` (B, C, H, W)."""
        return z.relu()


class Same(Map):
    """A layer that does nothing in evaluation mode."""

    def forward(self, z: Tensor) -> Tensor:
        """Return `z` (B, C, H, W)."""
        return z

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Return the functions as they are."""
        return rows


class Flat(Map):
    """Flattening: (C, H, W) becomes (C * H * W, 1, 1)."""

    def forward(self, z: Tensor) -> Tensor:
        """Return `z` (B, C, H, W) as (B, C * H * W, 1, 1)."""
        return z.flatten(1)[:, :, None, None]

    def reach(self, spans: Spans, shape: Shape) -> Spans:
        """Return the one window that covers the input."""
        return Span(1, size=shape[1]), Span(1, size=shape[2])

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Return the functions with their coefficients (..., C * H * W, 1, 1) as (..., C, H, W)."""
        return Rows(rows.values.reshape(*rows.values.shape[:4], *shape), self.reach(rows.spans, shape))


@attrs.frozen(eq=False)
class Dense(Map):
    """A linear layer; `weight` is (out, in)."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, z: Tensor) -> Tensor:
        """Return (B, out, 1, 1) for `z` (B, in, 1, 1)."""
        if z.shape[1:] != (self.weight.shape[1], 1, 1):
            raise RequestError(
                f"A linear layer of {self.weight.shape[1]} inputs meets activations of shape {tuple(z.shape[1:])}: "
                f"put `nn.Flatten()` in front of it, so that it reads whole images."
            )
        return F.linear(z.flatten(1), self.weight, self.bias)[:, :, None, None]

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Multiply the coefficients (..., out, 1, 1) by the weight."""
        return Rows((rows.values.flatten(4) @ self.weight)[..., None, None], rows.spans)


@attrs.frozen(eq=False)
class Conv(Map):
    """A convolution; `weight` is (out, in / groups, k, k), `kernels` are those of height and width."""

    weight: Tensor
    bias: Tensor | None
    kernels: Kernels
    groups: int

    def forward(self, z: Tensor) -> Tensor:
        """Return the convolution of `z` (B, C, H, W)."""
        high, wide = self.kernels
        padded = F.pad(z, (wide.before, wide.after, high.before, high.after))
        return F.conv2d(padded, self.weight, self.bias, self._strides, 0, self._dilations, self.groups)

    def reach(self, spans: Spans, shape: Shape) -> Spans:
        """Return the windows of the input that the kernel sees."""
        return _seen(self.kernels, spans, shape)

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Convolve the coefficients with the transposed kernel and drop what falls into the padding."""
        spans = self.reach(rows.spans, shape)
        surplus = [
            self._surplus(before, kernel, after)
            for before, kernel, after in zip(rows.spans, self.kernels, spans, strict=True)
        ]
        # `padding` of the transpose is what it leaves out on both sides: less to compute than to cut off afterwards.
        left_out = [min(ahead, behind) for ahead, behind in surplus]
        values = F.conv_transpose2d(
            rows.values.flatten(0, 3), self.weight, None, self._strides, left_out, 0, self.groups, self._dilations
        )
        for axis, ((ahead, _), already, span) in enumerate(zip(surplus, left_out, spans, strict=True), start=2):
            values = values.narrow(axis, ahead - already, span.size)
        return Rows(values.reshape(*rows.values.shape[:4], *values.shape[1:]), spans).inside(shape)

    @staticmethod
    def _surplus(before: Span, kernel: Kernel, after: Span) -> tuple[int, int]:
        """Return how many entries to cut off ahead and behind so that uncropped windows become those needed."""
        whole = before.through(kernel)
        ahead = whole.offset - after.offset
        return ahead, whole.size - ahead - after.size

    @property
    def _strides(self) -> tuple[int, int]:
        return self.kernels[0].stride, self.kernels[1].stride

    @property
    def _dilations(self) -> tuple[int, int]:
        return self.kernels[0].dilation, self.kernels[1].dilation


class Mean(Map):
    """Average pooling: a convolution of each channel with one constant, known once the input's shape is."""

    @abstractmethod
    def kernels(self, shape: Shape) -> Kernels:
        """Return how the windows of height and width walk over an input of this shape."""

    def divisor(self, shape: Shape) -> int:
        """Return what the sum over a window is divided by."""
        high, wide = self.kernels(shape)
        return high.size * wide.size

    def forward(self, z: Tensor) -> Tensor:
        """Return the averages of `z` (B, C, H, W)."""
        return self._conv(_shape(z), z).forward(z)

    def reach(self, spans: Spans, shape: Shape) -> Spans:
        """Return the windows of the input that are averaged."""
        return _seen(self.kernels(shape), spans, shape)

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Share each coefficient among the places it averages."""
        return self._conv(shape, rows.values).pull(rows, shape)

    def _conv(self, shape: Shape, like: Tensor) -> Conv:
        high, wide = self.kernels(shape)
        weight = like.new_full((shape[0], 1, high.size, wide.size), 1 / self.divisor(shape))
        return Conv(weight, None, (high, wide), shape[0])


@attrs.frozen
class FixedMean(Mean):
    """Averages over windows of one size."""

    windows: Kernels
    divide_by: int | None

    def kernels(self, shape: Shape) -> Kernels:
        """Return the same windows for every shape."""
        return self.windows

    def divisor(self, shape: Shape) -> int:
        """Return the divisor that was asked for, or the size of a window."""
        return self.divide_by or super().divisor(shape)


@attrs.frozen
class AdaptiveMean(Mean):
    """Averages down to an output of `size`, which must divide the input's; None keeps the input's."""

    size: tuple[int | None, int | None]

    def kernels(self, shape: Shape) -> Kernels:
        """Return windows that divide the input evenly, or refuse."""
        target = tuple(length if size is None else size for size, length in zip(self.size, shape[1:], strict=True))
        if any(length % size for size, length in zip(target, shape[1:], strict=True)):
            raise Unsupported(
                f"an adaptive pooling of {shape[1]}x{shape[2]} to {target[0]}x{target[1]} has windows of several "
                f"sizes; use an output size that divides the input's"
            )
        high, wide = (length // size for size, length in zip(target, shape[1:], strict=True))
        return Kernel(high, high), Kernel(wide, wide)


@attrs.frozen(eq=False)
class Scale(Map):
    """One factor and one shift per channel (C,)."""

    factor: Tensor
    shift: Tensor

    def forward(self, z: Tensor) -> Tensor:
        """Return `z` (B, C, H, W) scaled and shifted."""
        return z * self.factor[:, None, None] + self.shift[:, None, None]

    def pull(self, rows: Rows, shape: Shape) -> Rows:
        """Multiply the coefficients of each channel by its factor."""
        return Rows(rows.values * self.factor[:, None, None], rows.spans)


def _seen(kernels: Kernels, spans: Spans, shape: Shape) -> Spans:
    rows, columns = (span.through(kernel) for span, kernel in zip(spans, kernels, strict=True))
    return rows.cropped(shape[1]), columns.cropped(shape[2])


def _shape(z: Tensor) -> Shape:
    return z.shape[1], z.shape[2], z.shape[3]

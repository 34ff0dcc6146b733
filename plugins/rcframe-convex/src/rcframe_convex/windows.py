"""Linear functions of a layer, stored as windows: one output of a convolution sees only a patch of each layer below.

A dense row is the special case of one window that covers the whole layer, so convolutions and linear layers share all
code. Entries of a window that lie outside the layer are always 0: they see the zero padding.
"""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

#: Channels, height, width of the input or output of a layer; (features, 1, 1) once flattened.
Shape = tuple[int, int, int]


@attrs.frozen
class Kernel:
    """How a convolution walks along one axis; `before` and `after` are the padding."""

    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0


@attrs.frozen
class Span:
    """Windows along one axis: the one at position i covers `size` entries from `i * stride - offset` on."""

    count: int
    stride: int = 1
    offset: int = 0
    size: int = 1

    def through(self, kernel: Kernel) -> Span:
        """Return the windows of inputs that a convolution needs for these windows of its outputs."""
        return Span(
            count=self.count,
            stride=self.stride * kernel.stride,
            offset=self.offset * kernel.stride + kernel.before,
            size=(self.size - 1) * kernel.stride + kernel.dilation * (kernel.size - 1) + 1,
        )

    def cropped(self, length: int) -> Span:
        """Return the windows, never empty, without entries that are outside a layer of `length` at every position."""
        ahead = min(max(0, self.offset - (self.count - 1) * self.stride), self.size - 1)
        return attrs.evolve(self, offset=self.offset - ahead, size=min(self.size, length + self.offset) - ahead)

    def overhang(self, length: int) -> tuple[int, int]:
        """Return how far the windows reach beyond a layer of `length`, before it and after it."""
        return self.offset, max(0, (self.count - 1) * self.stride - self.offset + self.size - length)


Spans = tuple[Span, Span]


def take(field: Tensor, spans: Spans) -> Tensor:
    """Cut windows out of a field (B, C, H, W), zero outside: (B, I, J, C, h, w) for positions I x J."""
    rows, columns = spans
    field = F.pad(field, (*columns.overhang(field.shape[3]), *rows.overhang(field.shape[2])))
    windows = field.unfold(2, rows.size, rows.stride).unfold(3, columns.size, columns.stride)
    return windows[:, :, : rows.count, : columns.count].permute(0, 2, 3, 1, 4, 5)


@attrs.frozen(eq=False)
class Rows:
    """Linear functions of a layer: coefficients (B, I, J, R, C, h, w) in the windows `spans`.

    There are R functions for each example B and position I x J; B, I and J are 1 while all of them are equal.
    """

    values: Tensor
    spans: Spans

    def times(self, field: Tensor) -> Rows:
        """Multiply the coefficients by what a field (B, C, H, W) holds at their places."""
        return Rows(self.values * take(field, self.spans).contiguous().unsqueeze(3), self.spans)

    def inside(self, shape: Shape) -> Rows:
        """Clear the coefficients outside a layer of this shape."""
        if not any(any(span.overhang(length)) for span, length in zip(self.spans, shape[1:], strict=True)):
            return self
        return self.times(self.values.new_ones(1, 1, *shape[1:]))

    def at(self, field: Tensor) -> Tensor:
        """Return the values (B, I, J, R) of the functions on a field (B, C, H, W)."""
        values: Tensor = self.values.flatten(4) @ take(field, self.spans).flatten(3).unsqueeze(4)
        return values.squeeze(4)

    def positive(self, field: Tensor) -> Tensor:
        """Return (B, I, J, R): the sums of [c]+ over the coefficients c, weighted by a field (B, C, H, W)."""
        return Rows(self.values.clamp_min(0), self.spans).at(field)

    def negative(self, field: Tensor) -> Tensor:
        """Return (B, I, J, R): the sums of [-c]+ over the coefficients c, weighted by a field (B, C, H, W)."""
        return -Rows(self.values.clamp_max(0), self.spans).at(field)

    def norm(self, order: float) -> Tensor:
        """Return the norms (B, I, J, R) of the coefficients."""
        norms: Tensor = torch.linalg.vector_norm(self.values, order, dim=(4, 5, 6))
        return norms


def unit_rows(channels: range, shape: Shape, like: Tensor) -> Rows:
    """Return the functions that read some channels of a layer at each of its positions, in the dtype of `like`."""
    identity = torch.eye(shape[0], dtype=like.dtype, device=like.device)[channels.start : channels.stop]
    return Rows(identity[None, None, None, :, :, None, None], (Span(shape[1]), Span(shape[2])))

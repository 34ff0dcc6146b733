"""Windows of coefficients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_convex.windows import Kernel, Rows, Span, take, unit_rows
from torch import Tensor

spans = st.builds(
    Span,
    count=st.integers(1, 4),
    stride=st.integers(1, 3),
    offset=st.integers(0, 4),
    size=st.integers(1, 6),
)


def covered(span: Span, position: int) -> list[int]:
    """List the entries that one window covers, those outside the layer included."""
    first = position * span.stride - span.offset
    return list(range(first, first + span.size))


def test_span_through_a_convolution_by_hand() -> None:
    # Output i of a 4-wide kernel with stride 2 and padding 1 sees inputs 2i - 1 .. 2i + 2.
    assert Span(3).through(Kernel(4, 2, before=1)) == Span(3, stride=2, offset=1, size=4)
    # Outputs 2i - 1 .. 2i + 2 of it see inputs 4i - 3 .. 4i + 6.
    assert Span(3, 2, 1, 4).through(Kernel(4, 2, before=1)) == Span(3, stride=4, offset=3, size=10)
    assert Span(3).through(Kernel(3, dilation=2, before=2)) == Span(3, stride=1, offset=2, size=5)


@settings(deadline=None)
@given(spans, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
def test_span_through_covers_what_the_outputs_see(
    span: Span, size: int, stride: int, dilation: int, padding: int
) -> None:
    kernel = Kernel(size, stride, dilation, padding, padding)
    below = span.through(kernel)
    for position in range(span.count):
        seen = [out * stride - padding + tap * dilation for out in covered(span, position) for tap in range(size)]
        assert (min(seen), max(seen)) == (covered(below, position)[0], covered(below, position)[-1])


@settings(deadline=None)
@given(spans, st.integers(1, 9))
def test_cropping_drops_only_what_is_always_outside(span: Span, length: int) -> None:
    inside = [[place for place in covered(span, i) if 0 <= place < length] for i in range(span.count)]
    cropped = span.cropped(length)
    assert [[place for place in covered(cropped, i) if 0 <= place < length] for i in range(span.count)] == inside
    assert 1 <= cropped.size <= span.size
    assert cropped.offset >= 0
    if span.count == 1 and inside[0]:
        assert covered(cropped, 0) == inside[0]


@settings(deadline=None)
@given(spans, spans, st.integers(1, 7), st.integers(1, 7))
def test_take_reads_the_field_and_zeros_around_it(high: Span, wide: Span, height: int, width: int) -> None:
    field = torch.rand(2, 3, height, width) + 1
    windows = take(field, (high, wide))
    assert windows.shape == (2, high.count, wide.count, 3, high.size, wide.size)
    for i in range(high.count):
        for j in range(wide.count):
            for a, row in enumerate(covered(high, i)):
                for b, column in enumerate(covered(wide, j)):
                    inside = 0 <= row < height and 0 <= column < width
                    expected = field[:, :, row, column] if inside else torch.zeros(2, 3)
                    assert torch.equal(windows[:, i, j, :, a, b], expected)


def test_unit_rows_read_the_layer() -> None:
    field = torch.rand(2, 3, 4, 5)
    rows = unit_rows(range(1, 3), (3, 4, 5), field)
    assert torch.equal(rows.at(field), field[:, 1:].permute(0, 2, 3, 1))


def whole(values: Tensor) -> Rows:
    """Make one function for each example, over all of a layer (B, C, H, W)."""
    return Rows(values[:, None, None, None], (Span(1, size=values.shape[2]), Span(1, size=values.shape[3])))


def test_sums_of_signed_coefficients() -> None:
    rows = whole(torch.tensor([[[[1.0, -2.0, 3.0, -4.0]]]]))
    field = torch.tensor([[[[1.0, 10.0, 100.0, 1000.0]]]])
    assert rows.at(field).item() == 1 - 20 + 300 - 4000
    assert rows.positive(field).item() == 301
    assert rows.negative(field).item() == 4020


@pytest.mark.parametrize(("order", "expected"), [(1, 7.0), (2, 5.0)])
def test_norms(order: float, expected: float) -> None:
    rows = whole(torch.tensor([[[[3.0]], [[-4.0]]]]))
    assert rows.norm(order).flatten().tolist() == [expected]


def test_coefficients_outside_are_cleared() -> None:
    rows = Rows(torch.ones(1, 3, 1, 1, 1, 3, 1), (Span(3, offset=1, size=3), Span(1)))
    assert rows.inside((1, 3, 1)).values.flatten(1).tolist() == [[0, 1, 1, 1, 1, 1, 1, 1, 0]]
    assert whole(torch.ones(1, 1, 2, 2)).inside((1, 2, 2)).values.sum() == 4

"""How much of a batch fits into memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from rcframe_convex.network import Network
from rcframe_convex.steps import Rectifier
from rcframe_convex.windows import Shape, Span, Spans


@attrs.frozen
class Block:
    """Examples bounded together, and channels of a layer bounded together."""

    examples: int
    channels: int

    @classmethod
    def within(cls, network: Network, coefficients: int) -> Block:
        """Return the largest block whose windows hold at most that many coefficients, or the smallest there is."""
        demands = list(_demands(network))
        channels = max(1, coefficients // max(per_channel for _, per_channel in demands))
        largest = max(min(count, channels) * per_channel for count, per_channel in demands)
        return cls(max(1, coefficients // largest), channels)


def _demands(network: Network) -> Iterator[tuple[int, int]]:
    """Yield, for each layer to be bounded, its channels and the coefficients that one of them needs per example."""
    for depth, step in enumerate(network.steps):
        if isinstance(step, Rectifier):
            yield network.shapes[depth][0], _per_channel(network, depth, network.shapes[depth])
    yield network.classes, _per_channel(network, len(network.steps), (network.classes, 1, 1))


def _per_channel(network: Network, depth: int, shape: Shape) -> int:
    spans: Spans = Span(shape[1]), Span(shape[2])
    most = 1
    for step, before in reversed(list(zip(network.steps[:depth], network.shapes[:depth], strict=True))):
        spans = step.reach(spans, before)
        most = max(most, before[0] * spans[0].size * spans[1].size)
    return most * shape[1] * shape[2]

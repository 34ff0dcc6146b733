"""What a network weighs."""

from __future__ import annotations

import attrs
from torch import nn


@attrs.frozen
class Size:
    """What a network weighs."""

    #: Numbers that training sets.
    parameters: int
    #: Parameters that are not exactly zero.
    nonzero: int
    #: Parameters and buffers as they are stored.
    bytes: int


def size_of(module: nn.Module) -> Size:
    """Count parameters, non-zero parameters and bytes of a network."""
    parameters = list(module.parameters())
    stored = [*parameters, *module.buffers()]
    return Size(
        parameters=sum(p.numel() for p in parameters),
        nonzero=sum(int(p.count_nonzero()) for p in parameters),
        bytes=sum(t.numel() * t.element_size() for t in stored),
    )

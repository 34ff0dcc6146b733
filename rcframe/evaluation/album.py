"""Pictures of a few of the measured images, kept for people to look at."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

#: At most so many pictures, and so many bytes of them where the images are large.
_MOST_PICTURES, _MOST_BYTES = 12, 2_000_000


def evenly(total: int, count: int) -> Tensor:
    """Return `count` places (count,) among `total`, spread evenly."""
    return torch.arange(count) * total // max(count, 1)


def pictured(count: int, shape: tuple[int, ...]) -> Tensor:
    """Return which (k,) of `count` images of this shape are kept as pictures: few, and spread evenly."""
    fitting = max(1, _MOST_BYTES // math.prod(shape))
    return evenly(count, min(count, _MOST_PICTURES, fitting))


def as_pictures(x: Tensor) -> Tensor:
    """Return images (B, C, H, W) in [0, 1] as uint8 in 0..255, on the CPU."""
    return x.detach().mul(255).round().to("cpu", torch.uint8)


@attrs.frozen(eq=False)
class Album:
    """Pictures of some of the images of a measurement, each filled in when its image is judged."""

    #: Which of the measured images these are (k,).
    places: Tensor
    #: (k, C, H, W) uint8, black where nothing was filled in.
    pictures: Tensor

    @classmethod
    def empty(cls, count: int, shape: tuple[int, ...]) -> Album:
        """Return one for `count` images of this shape (C, H, W)."""
        places = pictured(count, shape)
        return cls(places, torch.zeros(len(places), *shape, dtype=torch.uint8))

    def note(self, start: int, images: Tensor) -> None:
        """Fill in those of the images (B, C, H, W) from `start` on that have a place here."""
        inside = (self.places >= start) & (self.places < start + len(images))
        found = self.places[inside] - start
        self.pictures[inside] = as_pictures(images[found.to(images.device)])

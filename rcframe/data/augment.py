"""Random changes to training images, drawn for each image of a batch on its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample, pad

from rcframe.errors import RequestError, listed, nearest

_PAD_SHARE = 8
_DEGREES = 20.0


@attrs.frozen
class Part:
    """Which images of a batch of `whole` are at hand: those from `begin` to before `end`."""

    begin: int
    end: int
    whole: int

    def __len__(self) -> int:
        """Count the images at hand."""
        return self.end - self.begin

    def of(self, drawn: Tensor) -> Tensor:
        """Return what was drawn for the images at hand; `drawn` (whole, ...) is for all."""
        return drawn[self.begin : self.end]


def augment(x: Tensor, names: tuple[str, ...], generator: Generator, part: Part | None = None) -> Tensor:
    """Return changed copies of `x` (B, C, H, W) in [0, 1]: the named changes one after the other.

    Random numbers are drawn on the CPU, so that a seed means the same changes on every device, and for the whole batch
    of which `x` is a part, so that an image is changed alike however the batch is divided.
    """
    part = Part(0, len(x), len(x)) if part is None else part
    for name in names:
        if name not in _CHANGES:
            raise RequestError(f"No augmentation `{name}`.{nearest(name, _CHANGES)} Known: {listed(_CHANGES)}.")
        x = _CHANGES[name](x, part, generator)
    return x


def _flip(x: Tensor, part: Part, generator: Generator) -> Tensor:
    mirrored = part.of(torch.rand(part.whole, generator=generator)) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1).to(x.device), x.flip(-1), x)


def _crop(x: Tensor, part: Part, generator: Generator) -> Tensor:
    """Surround the images with zeros, an eighth of each side, and cut their own size out at a random place."""
    height, width = x.shape[-2:]
    above, left = height // _PAD_SHARE, width // _PAD_SHARE
    rows = part.of(torch.randint(2 * above + 1, (part.whole,), generator=generator)).to(x.device)
    columns = part.of(torch.randint(2 * left + 1, (part.whole,), generator=generator)).to(x.device)
    # A view of every possible cut, (B, C, rows, columns, H, W); only the chosen ones are copied.
    cuts = pad(x, (left, left, above, above)).unfold(2, height, 1).unfold(3, width, 1)
    return cuts[torch.arange(len(x), device=x.device), :, rows, columns]


def _rotate(x: Tensor, part: Part, generator: Generator) -> Tensor:
    degrees = (torch.rand(part.whole, generator=generator) * 2 - 1) * _DEGREES
    cos, sin = _cos_and_sin(degrees)
    return _turned(x, part.of(cos), part.of(sin))


def rotated(x: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image of `x` (B, C, H, W) counter-clockwise by its `degrees` (B,), filling corners with zeros."""
    return _turned(x, *_cos_and_sin(degrees))


def _cos_and_sin(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine (whole,) of the angles of a whole batch.

    They are taken before a batch is divided: the last bit of a cosine may depend on its place in the tensor.
    """
    angle = degrees * (math.pi / 180)
    return angle.cos(), angle.sin()


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each image of `x` (B, C, H, W) by the angle of that cosine and sine (B,)."""
    cos, sin = (value.to(x.device, x.dtype).view(-1, 1, 1) for value in (cos, sin))
    height, width = x.shape[-2:]
    # In pixels from the centre, so that images that are not square turn without shear.
    down = (torch.arange(height, device=x.device, dtype=x.dtype) - (height - 1) / 2).view(1, -1, 1)
    right = (torch.arange(width, device=x.device, dtype=x.dtype) - (width - 1) / 2).view(1, 1, -1)
    from_right = right * cos - down * sin
    from_down = right * sin + down * cos
    grid = torch.stack([from_right * (2 / width), from_down * (2 / height)], dim=-1)
    turned = grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return turned.clamp_(0, 1)


_CHANGES: dict[str, Callable[[Tensor, Part, Generator], Tensor]] = {"flip": _flip, "crop": _crop, "rotate": _rotate}

"""From templates to images: random colours, angles, sizes, places and noise, many images at a time."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from rcframe.data.glyph_templates import Templates

#: Least difference in brightness between a character and its background.
CONTRAST = 0.4
_BRIGHTNESS = (0.299, 0.587, 0.114)
_SCALES = (0.8, 1.1)
#: Largest shift from the middle, as a share of the side.
_SHIFT = 0.08
#: Space between neighbours, as a share of the side.
_GAPS = (0.04, 0.12)
_CHUNK = 1000


@attrs.frozen
class Look:
    """What varies besides colour, size and place."""

    #: Largest angle in degrees.
    rotation: float
    #: Standard deviation of the pixel noise.
    noise: float
    neighbours: bool


def draw(templates: Templates, labels: Tensor, look: Look, randomness: Generator) -> Tensor:
    """Return uint8 images (N, 3, size, size) of the characters `labels` (N,); every random number is from `randomness`.

    Only elementwise operations and serial draws are used, so the result does not depend on the number of threads.
    """
    count = len(labels)
    paper, pen = contrasting(torch.rand(count, 3, generator=randomness), torch.rand(count, 3, generator=randomness))
    grid = _Placement.draw(count, look, randomness)
    beside = _beside(templates, labels, randomness) if look.neighbours else []
    x = torch.empty(count, 3, templates.size, templates.size, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        part = torch.arange(start, min(start + _CHUNK, count))
        places = grid.at(part, templates.size)
        ink = _ink(templates, labels[part], places)
        for others, distance in beside:
            ink = torch.maximum(ink, _ink(templates, others[part], _moved(places, distance[part])))
        image = torch.lerp(_colour(paper[part]), _colour(pen[part]), ink)
        noise = torch.randn(image.shape, generator=randomness)
        x[part] = image.add_(noise, alpha=look.noise).clamp_(0, 1).mul_(255).round_().byte()
    return x


def contrasting(paper: Tensor, pen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the colours (N, 3) with pens moved towards white or black where the contrast is too low."""
    weights = torch.tensor(_BRIGHTNESS)
    paper_light, pen_light = ((colour * weights).sum(dim=1, keepdim=True) for colour in (paper, pen))
    # The end that is farther away always has room for the contrast, since it is more than the contrast away.
    end = (paper_light < 0.5).float()
    wanted = paper_light + CONTRAST * (2 * end - 1)
    share = ((wanted - pen_light) / (end - pen_light)).clamp(0, 1)
    enough = (pen_light - paper_light).abs() >= CONTRAST
    return paper, torch.where(enough, pen, torch.lerp(pen, end.expand_as(pen), share))


@attrs.frozen
class _Placement:
    """Where the characters lie: angle in radians, scale, and shift (N, 2) as a share of half the side."""

    angle: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def draw(cls, count: int, look: Look, randomness: Generator) -> _Placement:
        largest = math.radians(look.rotation)
        angle = _uniform(count, (-largest, largest), randomness)
        scale = _uniform(count, _SCALES, randomness)
        shift = (torch.rand(count, 2, generator=randomness) * 2 - 1) * (2 * _SHIFT)
        return cls(angle, scale, shift)

    def at(self, part: Tensor, size: int) -> Tensor:
        """Return where in its template each pixel of the images `part` lies (n, size, size, 2), in -1..1."""
        middle = (torch.arange(size) + 0.5) * (2 / size) - 1
        right = middle.view(1, 1, -1) - self.shift[part, 0].view(-1, 1, 1)
        down = middle.view(1, -1, 1) - self.shift[part, 1].view(-1, 1, 1)
        cos = (self.angle[part].cos() / self.scale[part]).view(-1, 1, 1)
        sin = (self.angle[part].sin() / self.scale[part]).view(-1, 1, 1)
        return torch.stack([right * cos - down * sin, right * sin + down * cos], dim=-1)


def _beside(templates: Templates, labels: Tensor, randomness: Generator) -> list[tuple[Tensor, Tensor]]:
    """Draw a random character for each side and its distance (N,) from the middle one, left ones negative."""
    sides = []
    for sign in (-1, 1):
        others = torch.randint(len(templates.widths), labels.shape, generator=randomness)
        gap = _uniform(len(labels), _GAPS, randomness)
        # Shares of the side are half as long as the coordinates -1..1: half the widths need no factor of their own.
        distance = templates.widths[labels] + templates.widths[others] + 2 * gap
        sides.append((others, sign * distance))
    return sides


def _moved(places: Tensor, distance: Tensor) -> Tensor:
    right, down = places.unbind(dim=-1)
    return torch.stack([right - distance.view(-1, 1, 1), down], dim=-1)


def _ink(templates: Templates, labels: Tensor, places: Tensor) -> Tensor:
    return grid_sample(templates.ink[labels], places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _colour(colours: Tensor) -> Tensor:
    return colours.view(-1, 3, 1, 1)


def _uniform(count: int, limits: tuple[float, float], randomness: Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(count, generator=randomness)

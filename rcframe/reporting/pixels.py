"""Pixels as pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

_LARGEST = 64
Pixels = NDArray[np.uint8]


def data_uri(pixels: Pixels) -> str:
    """Return a picture (C, H, W), grey or colour, as the address of a PNG that is itself."""
    from PIL import Image

    colours = pixels if pixels.shape[0] in (1, 3) else pixels[:1]
    image = Image.fromarray(colours[0] if len(colours) == 1 else np.moveaxis(colours, 0, -1))
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def small(pixels: Pixels) -> Pixels:
    """Return a picture (C, H, W) that is at most so many pixels large as a page needs."""
    from PIL import Image

    _, height, width = pixels.shape
    scale = _LARGEST / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BOX)) for channel in pixels])


def stacked(pictures: list[Pixels], gap: int = 1) -> Pixels:
    """Return pictures (C, H, W) below each other, with a grey gap of some pixels between."""
    channels, _, width = pictures[0].shape
    between = np.full((channels, gap, width), 128, np.uint8)
    parts = [part for picture in pictures for part in (picture, between)][:-1]
    return np.concatenate(parts, axis=1)


def magnified(before: Pixels, after: Pixels, factor: int) -> Pixels:
    """Return the difference of two pictures, so many times as large, about a middle grey."""
    change = after.astype(np.int32) - before.astype(np.int32)
    return np.clip(128 + factor * change, 0, 255).astype(np.uint8)


def magnification(change: int) -> int:
    """Return by how much a largest change, of 255, can be magnified and still be shown."""
    return max(1, 127 // change) if change else 1

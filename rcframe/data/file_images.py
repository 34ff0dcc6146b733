"""Images that stay in their files and are decoded when a batch asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rcframe.data.images import Batch, Images
from rcframe.errors import RequestError, RunFailed

_DECODERS = 4
_HEADERS_CHECKED = 2000
_CHANNELS = 3


class FileImages(Images):
    """Colour images (3, size, size) read from `files`: the middle square, scaled to `size`; labels (N,)."""

    def __init__(self, files: Sequence[str], y: Tensor, size: int) -> None:
        if y.shape != (len(files),):
            raise ValueError(f"expected one label for each of {len(files)} files, got {tuple(y.shape)}")
        self.files = tuple(files)
        self.size = size
        self._y = y.long()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> Tensor:
        """All labels (N,), int64."""
        return self._y

    def fetch(self, index: Tensor) -> Batch:
        """Decode the images at `index` (B,), several at a time."""
        wanted = [self.files[position] for position in index.tolist()]
        pixels = torch.empty(len(wanted), self.size, self.size, _CHANNELS, dtype=torch.uint8)

        def decode_into(place: int) -> None:
            pixels[place] = decode(wanted[place], self.size)

        # Pillow decodes outside the interpreter lock; the pool is short-lived, so that forked workers inherit none.
        with ThreadPoolExecutor(min(_DECODERS, max(len(wanted), 1))) as pool:
            list(pool.map(decode_into, range(len(wanted))))
        x = pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
        return Batch(x, self._y[index])


def decode(file: str, size: int) -> Tensor:
    """Return the middle square of an image file, scaled to (size, size, 3), as uint8."""
    try:
        with Image.open(file) as image:
            # A JPEG far larger than needed is decoded at a fraction of its size, at least twice the wanted one.
            image.draft("RGB", (2 * size, 2 * size))
            colour = _eight_bits(image).convert("RGB")
    # A damaged image fails in whatever its decoder trips over, so every failure means the same.
    except Exception as error:
        raise RunFailed(f"The image `{file}` cannot be read ({error}). Replace or remove the file.") from error
    side = min(colour.size)
    left, top = (colour.width - side) // 2, (colour.height - side) // 2
    # Cut before scaling: the filter would reach for pixels beyond a mere box.
    square = colour.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale the grey values of a 16-bit image to 8 bits; Pillow would cut them off at 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) // 257).astype(np.uint8))


def check_headers(files: Sequence[str]) -> None:
    """Refuse files whose header is no image; of very many files, a few thousand evenly spread ones are opened."""
    step = max(1, len(files) // _HEADERS_CHECKED)
    for file in files[::step]:
        try:
            with Image.open(file):
                pass
        # As above: whatever goes wrong, the file is no image.
        except Exception as error:
            raise RequestError(
                f"`{file}` is not a readable image ({type(error).__name__}). Replace or remove the file."
            ) from error


def image_files(folder: Path) -> list[str]:
    """List the image files below `folder`, sorted."""
    return sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

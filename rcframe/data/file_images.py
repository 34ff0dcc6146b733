"""Images that stay in their files and are decoded when a batch asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rcframe.data.digests import combined, tensor_digest
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
        self._fingerprint = ""

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

    def fingerprint(self) -> str:
        """Return a hash of names below the common folder, sizes and times of the files, labels and side.

        The files are looked at once, on the first call, and not opened: reading a million of them takes too long.
        """
        if not self._fingerprint:
            files = combined(*(part for file in _looks(self.files) for part in file))
            self._fingerprint = combined("files", files, tensor_digest(self._y), self.size)
        return self._fingerprint


def _looks(files: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes and time of change in nanoseconds of each file, wherever their common folder lies."""
    paths = [os.path.abspath(file) for file in files]
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        yield path[len(common) :].replace(os.sep, "/").lstrip("/"), found.st_size, found.st_mtime_ns


def decode(file: str, size: int) -> Tensor:
    """Return the middle square of an image file, scaled to (size, size, 3), as uint8."""
    try:
        with Image.open(file) as image:
            # A JPEG far larger than needed is decoded at a fraction of its size, at least twice the wanted one.
            image.draft("RGB", (2 * size, 2 * size))
            colour = _eight_bits(image).convert("RGB")
    # A damaged image fails in whatever its decoder trips over, so every failure means the same.
    except Exception as error:
        raise _unreadable(file, error) from error
    side = min(colour.size)
    left, top = (colour.width - side) // 2, (colour.height - side) // 2
    # Cut before scaling: the filter would reach for pixels beyond a mere box.
    square = colour.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square))


def _unreadable(file: str, error: Exception) -> RunFailed:
    if isinstance(error, FileNotFoundError):
        return RunFailed(f"The image `{file}` is gone, but the data set was loaded with it. Put the file back.")
    return RunFailed(f"The image `{file}` cannot be read ({error}). Replace or remove the file.")


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

"""Images for eyes: in a terminal, two pixels per character, or as a PNG contact sheet."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from rich.columns import Columns
from rich.console import Console
from rich.style import Style
from rich.text import Text
from torch import Tensor

from rcframe.data.images import Batch, DataInfo
from rcframe.errors import RequestError

_WIDEST = 32
_COLUMNS = 8
_GAP = 2


def print_images(batch: Batch, info: DataInfo, console: Console) -> None:
    """Print images (B, C, H, W) side by side with their class names."""
    captions = [""] * len(batch.images) if batch.y is None else [info.classes[int(label)] for label in batch.y]
    blocks = [_as_text(image, caption) for image, caption in zip(batch.images, captions, strict=True)]
    console.print(Columns(blocks, padding=(1, 2)))


def _as_text(image: Tensor, caption: str) -> Text:
    """Draw one image (C, H, W): the upper half block's foreground is the upper pixel, its background the lower."""
    width = image.shape[-1]
    if width > _WIDEST:
        image = F.interpolate(image[None], scale_factor=_WIDEST / width, mode="area")[0]
    rgb = (_colour(image).clamp(0, 1) * 255).round().int()
    rgb = F.pad(rgb, (0, 0, 0, rgb.shape[1] % 2))
    text = Text(caption + "\n")
    for row in range(0, rgb.shape[1], 2):
        for column in range(rgb.shape[2]):
            upper, lower = rgb[:, row, column].tolist(), rgb[:, row + 1, column].tolist()
            text.append("\u2580", Style(color=_hex(upper), bgcolor=_hex(lower)))
        text.append("\n")
    return text


def _hex(pixel: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel)


def _colour(image: Tensor) -> Tensor:
    return image.expand(3, -1, -1) if image.shape[0] == 1 else image[:3]


def save_images(images: Tensor, path: Path) -> None:
    """Write images (B, C, H, W) as a contact sheet."""
    from PIL import Image

    count, _, height, width = images.shape
    scale = max(1, 64 // height)
    rows, columns = -(-count // _COLUMNS), min(count, _COLUMNS)
    sheet = torch.ones(3, rows * (height * scale + _GAP), columns * (width * scale + _GAP))
    for number, image in enumerate(images):
        large = F.interpolate(_colour(image)[None], scale_factor=scale, mode="nearest")[0]
        top, left = number // _COLUMNS * (height * scale + _GAP), number % _COLUMNS * (width * scale + _GAP)
        sheet[:, top : top + height * scale, left : left + width * scale] = large
    pixels = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    try:
        Image.fromarray(pixels).save(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"Cannot write the images to `{path}`: {error}.") from error

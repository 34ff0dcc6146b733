"""Characters as grey pictures, each rendered once."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

#: Pixels of a template for each pixel of an image: bilinear sampling at half the resolution averages, so that
#: the images come out smooth.
_DETAIL = 2
#: Font size as a share of the template's side; capital letters are about 0.7 of the font size high.
_FONT_SHARE = 0.9


@attrs.frozen
class Templates:
    """Ink of the characters in 0..1 (characters, 1, T, T), each in the middle of its picture.

    `widths` (characters,) is the width of the ink as a share of the picture.
    """

    ink: Tensor
    widths: Tensor
    #: Side of the images that are drawn from the templates.
    size: int


def render(characters: str, size: int) -> Templates:
    """Render each character with Pillow's own font, for images of side `size`."""
    side = _DETAIL * size
    pictures = [_centred(character, side) for character in characters]
    ink = torch.from_numpy(np.stack([np.array(picture) for picture, _ in pictures]))
    widths = torch.tensor([width / side for _, width in pictures])
    return Templates(ink.unsqueeze(1).float() / 255, widths, size)


def _centred(character: str, side: int) -> tuple[Image.Image, int]:
    """Return a picture with the ink of `character` in its middle, and the width of the ink in pixels."""
    font = ImageFont.load_default(size=_FONT_SHARE * side)
    # Twice as wide as needed, so that no character is cut before its place is known.
    sheet = Image.new("L", (2 * side, 2 * side))
    ImageDraw.Draw(sheet).text((side, side), character, fill=255, font=font, anchor="mm")
    box = sheet.getbbox()
    assert box is not None, f"the font draws nothing for {character!r}"
    ink = sheet.crop(box)
    picture = Image.new("L", (side, side))
    picture.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return picture, ink.width

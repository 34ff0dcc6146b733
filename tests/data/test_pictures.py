from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from rcframe.data.images import Batch, DataInfo
from rcframe.data.pictures import print_images, save_images
from rcframe.errors import RequestError

INFO = DataInfo("two", (3, 2, 2), ("cat", "dog"), (0.5,) * 3, (0.5,) * 3)
RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)


def image(*rows: tuple[tuple[float, float, float], ...]) -> Tensor:
    """An image (3, H, W) from rows of colours."""
    return torch.tensor(rows).permute(2, 0, 1)


def printed(images: Tensor, labels: Tensor | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=200)
    print_images(Batch(images, labels), INFO, console)
    return stream.getvalue()


def pixel(upper: tuple[float, float, float], lower: tuple[float, float, float]) -> str:
    """The code that draws one character with two pixels."""
    front, back = (";".join(str(int(255 * part)) for part in colour) for colour in (upper, lower))
    return f"\x1b[38;2;{front};48;2;{back}m\u2580"


def test_one_character_shows_two_pixels_in_their_colours() -> None:
    text = printed(image((RED, GREEN), (BLUE, WHITE))[None], torch.tensor([1]))
    assert text.count("\u2580") == 2
    assert pixel(RED, BLUE) in text
    assert pixel(GREEN, WHITE) in text


def test_images_stand_beside_their_class_names() -> None:
    text = printed(torch.rand(2, 3, 2, 2), torch.tensor([1, 0]))
    assert text.index("dog") < text.index("cat")


def test_images_without_labels_are_shown_without_names() -> None:
    text = printed(torch.rand(3, 3, 2, 2))
    assert text.count("\u2580") == 6
    assert "cat" not in text


def test_grey_images_are_grey_and_an_odd_height_ends_black() -> None:
    text = printed(torch.full((1, 1, 3, 1), 0.2), torch.tensor([0]))
    grey = (0.2, 0.2, 0.2)
    assert pixel(grey, grey) in text
    assert pixel(grey, (0.0, 0.0, 0.0)) in text


def test_wide_images_are_shrunk_to_fit() -> None:
    lines = printed(torch.ones(1, 3, 64, 64), torch.tensor([0])).splitlines()
    assert max(line.count("\u2580") for line in lines) == 32
    assert sum("\u2580" in line for line in lines) == 16


def sheet(path: Path) -> Tensor:
    with Image.open(path) as opened:
        size, data = opened.size, opened.convert("RGB").tobytes()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(size[1], size[0], 3)


def test_a_contact_sheet_has_eight_images_a_row_enlarged_to_64_pixels(tmp_path: Path) -> None:
    images = torch.stack([torch.full((1, 8, 8), k / 10) for k in range(10)])
    save_images(images, tmp_path / "sheet.png")
    pixels = sheet(tmp_path / "sheet.png")
    assert pixels.shape == (2 * 66, 8 * 66, 3)
    for number in range(10):
        row, column = divmod(number, 8)
        block = pixels[row * 66 : row * 66 + 64, column * 66 : column * 66 + 64]
        assert (block == round(25.5 * number)).all()
    assert (pixels[64:66] == 255).all()
    assert (pixels[:, 64:66] == 255).all()
    assert (pixels[66:, 2 * 66 :] == 255).all()


def test_large_images_keep_their_size_and_colours(tmp_path: Path) -> None:
    picture = torch.rand(3, 70, 50)
    save_images(picture[None], tmp_path / "one.png")
    pixels = sheet(tmp_path / "one.png")
    assert pixels.shape == (72, 52, 3)
    assert torch.equal(pixels[:70, :50].permute(2, 0, 1), (picture * 255).round().byte())


@pytest.mark.parametrize("name", ["no/such/folder.png", "sheet.unknown"])
def test_a_sheet_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=rf"Cannot write the images to `.*{name}`"):
        save_images(torch.rand(1, 1, 8, 8), tmp_path / name)

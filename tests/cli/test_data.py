from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from rcframe.data.digits import Digits
from rcframe.registry import registry

if TYPE_CHECKING:
    from tests.conftest import Command, Install


def test_data_sets_are_listed_with_what_they_are_and_where_they_come_from(install: Install, cli: Command) -> None:
    install(
        "acme-data",
        [{"kind": "data", "name": "spots", "target": "acme_data:Spots", "summary": "Spots in [red] and [/blue]."}],
    )
    outcome = cli("data", "list")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [" ".join(line.replace("│", " ").split()) for line in outcome.out.splitlines()]
    assert "spots Spots in [red] and [/blue]. acme-data 1.0" in rows
    for item in registry().announced("data"):
        assert f"{item.spec.name} {item.spec.summary} {item.distribution} {item.version}" in rows


def test_glyphs_are_drawn_in_the_terminal(cli: Command) -> None:
    outcome = cli("data", "show", "glyphs:size=8,classes=3,train=30,test=7,extra=4", "--count", "2")
    assert (outcome.code, outcome.err) == (0, "")
    first, second, *picture = outcome.out.splitlines()
    assert first == "glyphs: 8x8 pixels, 3 channels, 3 classes (0, 1, 2)"
    assert second == "Images: 30 train, 7 test, 4 extra. Customary eps: 8/255."
    blocks = [line.split() for line in picture if "▀" in line]
    assert blocks == [["▀" * 8, "▀" * 8]] * 4


def test_many_classes_are_abbreviated_and_any_name_is_printed_as_it_is(cli: Command) -> None:
    shown = cli("data", "show", "glyphs:size=8,classes=90,train=90,test=1", "--count", "1").out.splitlines()[0]
    assert shown.startswith("glyphs: 8x8 pixels, 3 channels, 90 classes (0, 1, 2,")
    assert shown.endswith(", ...)")


def test_digits_are_saved_as_a_picture_of_the_first_training_images(cli: Command, tmp_path: Path) -> None:
    file = tmp_path / "digits.png"
    outcome = cli("data", "show", "digits", "--png", str(file), "--count", "10")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"Wrote {file}\n")
    assert "▀" not in outcome.out
    sheet = np.array(Image.open(file)).astype(int)
    # Eight in a row, each 8x8 image enlarged to 64x64 with a gap of 2.
    assert sheet.shape == (2 * 66, 8 * 66, 3)
    images = Digits().load(Path()).train.first(10).images
    for number, image in enumerate(images):
        top, left = number // 8 * 66, number % 8 * 66
        shown = sheet[top : top + 64 : 8, left : left + 64 : 8]
        assert (shown == (image[0].numpy() * 255).round().astype(int)[:, :, None]).all()
    assert (sheet[66:, 2 * 66 :] == 255).all()


def test_eight_images_are_shown_by_default(cli: Command, tmp_path: Path) -> None:
    cli("data", "show", "glyphs:size=8,classes=2,train=9,test=1", "--png", str(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").size == (8 * 66, 66)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["digist"], "Error: No data named `digist`. Did you mean `digits`?"),
        (["glyphs:classes=1"], "Error: Option `classes` of `glyphs` is 1, but it must be between 2 and"),
        (["mnist"], "Error: The files of `mnist` are not below `"),
        (["mnist", "--data-root", "elsewhere"], "Error: The files of `mnist` are not below `elsewhere`: expected"),
        (["digits", "--png", "no/such/folder.png"], "Error: Cannot write the images to `no/such/folder.png`: "),
        (["digits", "--png", "sheet.nonsense"], "Error: Cannot write the images to `sheet.nonsense`: "),
        (["digits", "--count", "0"], "0 is not in the range x>=1"),
        (["digits", "--count", "few"], "'few' is not a valid integer"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(arguments: list[str], complaint: str, cli: Command, tmp_path: Path) -> None:
    outcome = cli("data", "show", *arguments, RCFRAME_DATA=str(tmp_path / "nothing"))
    assert outcome.code == 2
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


def test_a_data_root_that_is_not_there_is_told_of_where_nothing_is_read_from_it(cli: Command, tmp_path: Path) -> None:
    said = cli("data", "show", "digits", "--count", "1", "--data-root", str(tmp_path / "nowhere"))
    assert (said.code, said.err) == (
        0,
        f"There is no folder `{tmp_path}/nowhere`, which --data-root names: no file of a data set is found there.\n",
    )
    assert not cli("data", "show", "digits", "--count", "1", "--data-root", str(tmp_path)).err


def test_the_data_root_comes_from_the_environment_unless_it_is_said(cli: Command) -> None:
    assert "not below `somewhere`" in cli("data", "show", "mnist", RCFRAME_DATA="somewhere").err
    said = cli("data", "show", "mnist", "--data-root", "elsewhere", RCFRAME_DATA="somewhere")
    assert "not below `elsewhere`" in said.err

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from rcframe.reporting.pixels import data_uri, magnification, magnified, small, stacked


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_out_as_it_went_in(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), np.uint8)
    head, _, text = data_uri(pixels).partition(",")
    assert head == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert np.array_equal(read if channels == 1 else np.moveaxis(read, -1, 0), pixels[0] if channels == 1 else pixels)


def test_of_other_channels_the_first_is_shown() -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    assert data_uri(pixels) == data_uri(pixels[:1])


def test_pictures_are_stacked_with_a_grey_line_between() -> None:
    one, two = np.zeros((1, 2, 3), np.uint8), np.full((1, 2, 3), 255, np.uint8)
    assert stacked([one, two])[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_differences_are_magnified_about_middle_grey_in_both_directions() -> None:
    before, after = np.array([[[10, 200, 50]]], np.uint8), np.array([[[12, 198, 50]]], np.uint8)
    assert magnified(before, after, 20).tolist() == [[[168, 88, 128]]]
    assert magnified(before, after, 100).tolist() == [[[255, 0, 128]]]


@pytest.mark.parametrize(("change", "factor"), [(0, 1), (1, 127), (8, 15), (127, 1), (255, 1)])
def test_magnification_shows_the_largest_change_whole(change: int, factor: int) -> None:
    assert magnification(change) == factor


def test_large_pictures_are_made_small_and_small_ones_left() -> None:
    assert small(np.full((3, 128, 256), 9, np.uint8)).shape == (3, 32, 64)
    pixels = np.zeros((1, 64, 20), np.uint8)
    assert small(pixels) is pixels

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from rcframe.evaluation.album import Album, as_pictures, evenly, pictured


@given(st.integers(1, 500), st.data())
def test_places_are_spread_evenly(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, total))
    places = evenly(total, count).tolist()
    gaps = {after - before for before, after in zip(places, [*places[1:], total], strict=True)}
    assert places[0] == 0
    assert len(places) == count
    assert gaps <= {total // count, -(-total // count)}


def test_no_place_of_none() -> None:
    assert evenly(5, 0).tolist() == []
    assert evenly(0, 0).tolist() == []


@pytest.mark.parametrize(
    ("count", "shape", "kept"),
    [
        (450, (1, 8, 8), 12),
        (5, (1, 8, 8), 5),
        (50_000, (3, 224, 224), 12),
        (50_000, (3, 512, 512), 2),
        (50_000, (3, 2000, 2000), 1),
        (0, (1, 8, 8), 0),
    ],
)
def test_pictures_are_few_and_small_together(count: int, shape: tuple[int, ...], kept: int) -> None:
    places = pictured(count, shape)
    assert places.tolist() == [index * count // max(kept, 1) for index in range(kept)]
    assert kept * math.prod(shape) <= 2_000_000 or kept == 1


@given(st.lists(st.integers(0, 255), min_size=1, max_size=8))
def test_pixels_come_back_as_they_were_stored(values: list[int]) -> None:
    stored = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)
    assert torch.equal(as_pictures(stored.float().div(255)), stored)


@given(st.integers(1, 40), st.data())
def test_batches_fill_the_album_whatever_their_sizes(count: int, data: st.DataObject) -> None:
    x = torch.arange(count).view(-1, 1, 1, 1) / 255
    album = Album.empty(count, (1, 1, 1))
    start = 0
    while start < count:
        size = data.draw(st.integers(1, count - start))
        album.note(start, x[start : start + size])
        start += size
    assert album.pictures.flatten().tolist() == album.places.tolist()


def test_what_was_not_filled_in_is_black() -> None:
    album = Album.empty(12, (3, 2, 2))
    album.note(3, torch.ones(2, 3, 2, 2))
    assert album.pictures.shape == (12, 3, 2, 2)
    assert album.pictures.dtype == torch.uint8
    assert album.pictures.flatten(1).float().mean(dim=1).tolist() == [0, 0, 0, 255, 255, *[0] * 7]

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.data.images import Batch, Concatenated, Images, Subset, TensorImages, Unlabelled
from rcframe.testing.toys import toy_images


class Drawn(Images):
    """A set of somebody else's that says nothing about its fingerprint."""

    def __init__(self, x: Tensor, y: Tensor | None) -> None:
        self._x, self._y = x, y

    def __len__(self) -> int:
        return len(self._x)

    @property
    def labels(self) -> Tensor | None:
        return self._y

    def fetch(self, index: Tensor) -> Batch:
        return Batch(self._x[index], None if self._y is None else self._y[index])


class Inverted(TensorImages):
    """Images in memory that are changed on their way out."""

    def fetch(self, index: Tensor) -> Batch:
        batch = super().fetch(index)
        return Batch(1 - batch.images, batch.y)


def pixels(count: int = 5) -> Tensor:
    return torch.arange(count * 12, dtype=torch.uint8).view(count, 3, 2, 2)


def test_bytes_become_fractions_of_255_and_floats_stay_with_their_labels_in_the_order_asked_for() -> None:
    shades = torch.tensor([0, 51, 255, 128], dtype=torch.uint8).view(4, 1, 1, 1)
    batch = TensorImages(shades, torch.tensor([3, 2, 1, 0])).fetch(torch.tensor([2, 1, 0, 1]))
    assert batch.images.flatten().tolist() == pytest.approx([1.0, 0.2, 0.0, 0.2], abs=1e-7)
    assert batch.labels.tolist() == [1, 2, 3, 2]
    floats = TensorImages(torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)).fetch(torch.tensor([1, 1, 0]))
    assert floats.images.flatten().tolist() == [0.75, 0.75, 0.25]
    assert floats.y is None


def test_bytes_become_the_nearest_floats() -> None:
    """Every byte, divided in double precision and rounded once."""
    every = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    fetched = TensorImages(every).fetch(torch.arange(256)).images
    assert torch.equal(fetched, (every.double() / 255).float())


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = """if True:
        import torch
        from rcframe.testing.toys import toy_images
        print(toy_images(10, 1).subset(torch.arange(4)).fingerprint())
    """
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == toy_images(10, 1).subset(torch.arange(4)).fingerprint()


@pytest.mark.parametrize("kind", [TensorImages, Drawn, Inverted])
def test_equal_content_has_equal_fingerprints_and_any_change_another(kind: type[TensorImages]) -> None:
    x, y = pixels().float() / 255, torch.tensor([0, 1, 2, 0, 1])
    same = kind(x, y).fingerprint()
    assert kind(x.clone(), y.clone()).fingerprint() == same
    brighter = x.clone()
    brighter[4, 2, 1, 1] += 1 / 255
    swapped = torch.tensor([1, 0, 2, 3, 4])
    changed = [
        kind(brighter, y),
        kind(x, torch.tensor([0, 1, 2, 0, 2])),
        kind(x[swapped], y[swapped]),
        kind(x[:4], y[:4]),
        kind(torch.cat([x, x[4:]]), torch.cat([y, y[4:]])),
        kind(x, None),
    ]
    assert len({same, *(images.fingerprint() for images in changed)}) == 7


@given(st.integers(0, 4), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.integers(1, 255))
def test_one_pixel_is_enough(image: int, channel: int, row: int, column: int, change: int) -> None:
    x = pixels()
    before = TensorImages(x).fingerprint()
    x = x.clone()
    x[image, channel, row, column] += change
    assert TensorImages(x).fingerprint() != before


def test_a_change_after_the_first_fingerprint_is_seen() -> None:
    images = TensorImages(pixels(), torch.zeros(5))
    before = images.fingerprint()
    images.x[0, 0, 0, 0] = 99
    changed = images.fingerprint()
    assert changed != before
    images.x = pixels()
    assert images.fingerprint() == before


def test_what_a_subclass_makes_of_the_pixels_counts() -> None:
    assert Inverted(pixels()).fingerprint() != TensorImages(pixels()).fingerprint()


def test_sets_of_others_are_hashed_to_the_last_image_of_many() -> None:
    x = torch.zeros(600, 1, 1, 1)
    seen = {Drawn(x, None).fingerprint()}
    for place in (0, 255, 256, 511, 512, 599):
        one = x.clone()
        one[place] = 1
        seen.add(Drawn(one, None).fingerprint())
    assert len(seen) == 7


def test_a_set_of_no_images_has_a_fingerprint() -> None:
    assert Drawn(pixels(0), None).fingerprint() != Drawn(pixels(1), None).fingerprint()


def test_subsets_and_views_differ_from_their_sets_and_each_other() -> None:
    base = TensorImages(pixels(), torch.tensor([0, 1, 2, 0, 1]))
    views: list[Images] = [
        base,
        Unlabelled(base),
        Subset(base, torch.arange(5)),
        Subset(base, torch.tensor([0, 1, 2, 4, 3])),
        Subset(base, torch.arange(4)),
        Subset(Unlabelled(base), torch.arange(4)),
        Unlabelled(TensorImages(pixels(6))),
    ]
    assert all(one.fingerprint() != two.fingerprint() for one, two in combinations(views, 2))


def test_equal_subsets_of_equal_sets_are_equal() -> None:
    one = Subset(TensorImages(pixels()), torch.tensor([3, 1]))
    two = Subset(TensorImages(pixels()), torch.tensor([3, 1], dtype=torch.int32))
    assert one.fingerprint() == two.fingerprint()


@pytest.mark.parametrize("batch", [Batch(), Batch(torch.ones(2, 1, 1, 1), torch.zeros(2), 0.5)])
def test_a_batch_on_another_device_is_otherwise_the_same(batch: Batch) -> None:
    moved = batch.to(torch.device("meta"))
    assert moved.share == batch.share
    for before, after in ((batch.x, moved.x), (batch.y, moved.y)):
        assert (before is None) == (after is None)
        assert after is None or after.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_a_batch_in_page_locked_memory_is_otherwise_the_same() -> None:
    batch = Batch(torch.ones(2, 1, 1, 1), torch.zeros(2), 0.5).pin_memory()
    assert batch.images.is_pinned()
    assert batch.labels.is_pinned()
    assert batch.share == 0.5
    assert Batch().pin_memory() == Batch()


def shaded(count: int, shade: float) -> TensorImages:
    return TensorImages(torch.full((count, 1, 2, 2), shade) + torch.arange(count).view(-1, 1, 1, 1) / 100)


def joined(*counts: int) -> tuple[Concatenated, Tensor]:
    """Sets of some sizes as one, and its images (N, C, H, W)."""
    sets = [shaded(count, number / 10) for number, count in enumerate(counts)]
    return Concatenated(sets), torch.cat([images.x for images in sets])


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 10**6), max_size=12),
)
def test_sets_one_after_the_other_are_fetched_like_one(counts: list[int], places: list[int]) -> None:
    images, x = joined(*counts)
    index = torch.tensor([place % len(x) for place in places], dtype=torch.int64)
    assert len(images) == len(x)
    assert torch.equal(images.fetch(index).images, x[index])


def test_several_sets_together_have_no_labels() -> None:
    images = Concatenated((toy_images(4, 1), toy_images(3, 2)))
    assert images.labels is None
    assert images.fetch(torch.tensor([0, 5])).y is None
    assert images.fetch(torch.tensor([], dtype=torch.int64)).y is None


def test_the_fingerprint_of_several_sets_is_that_of_their_order_and_content() -> None:
    one, two = shaded(2, 0.1), shaded(3, 0.5)
    prints = [Concatenated(sets).fingerprint() for sets in ((one, two), (two, one), (one,), (one, two, two))]
    assert len({*prints, one.fingerprint()}) == 5
    assert prints[0] == Concatenated((shaded(2, 0.1), shaded(3, 0.5))).fingerprint()


def test_places_move_with_their_batch() -> None:
    batch = Batch(torch.rand(2, 1, 2, 2), index=torch.tensor([4, 1])).to(torch.device("meta"))
    assert batch.index is not None
    assert batch.index.device.type == "meta"

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.data.batches import Batches, NoData
from rcframe.data.images import Batch, Images, TensorImages, Unlabelled
from rcframe.errors import RequestError

ALL = ("flip", "crop", "rotate")


def numbered(count: int, side: int = 1) -> TensorImages:
    """Images whose label is their index, and whose pixels are too (divided by 1000)."""
    index = torch.arange(count)
    return TensorImages((index / 1000).view(-1, 1, 1, 1).expand(-1, 1, side, side).contiguous(), index)


def labels(batches: list[Batch]) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


def flat(batches: list[Batch]) -> list[int]:
    return [label for batch in labels(batches) for label in batch]


sizes = st.integers(1, 12)
counts = st.integers(1, 40)
seeds = st.integers(0, 5)


@given(counts, sizes, seeds, st.integers(0, 3), st.booleans())
def test_every_image_is_seen_once_per_epoch_in_batches_that_fit(
    count: int, size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    source = Batches(numbered(count), size, seed, shuffle=shuffle)
    batches = list(source.epoch(epoch))
    assert len(batches) == len(source)
    assert sorted(flat(batches)) == list(range(count))
    lengths = [len(batch) for batch in labels(batches)]
    assert all(length == size for length in lengths[:-1])
    assert lengths[-1] <= size + 1
    assert lengths[-1] > 1 or count == 1 or size == 1


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5]), (5, 4, [5]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 8, [3])],
)
def test_a_single_image_left_over_joins_the_batch_before_it(count: int, size: int, lengths: list[int]) -> None:
    source = Batches(numbered(count), size, seed=0)
    assert [len(batch) for batch in labels(list(source.epoch(0)))] == lengths
    assert len(source) == len(lengths)


@given(counts, sizes, st.integers(0, 3), st.integers(0, 12), st.lists(st.sampled_from(ALL), max_size=3, unique=True))
def test_an_epoch_entered_late_yields_the_rest_bit_for_bit(
    count: int, size: int, epoch: int, start: int, names: list[str]
) -> None:
    images = TensorImages(torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(count))
    source = Batches(images, size, seed=3, augment=tuple(names))
    rest = list(source.epoch(epoch))[start:]
    late = list(Batches(images, size, seed=3, augment=tuple(names)).epoch(epoch, start=start))
    assert labels(late) == labels(rest)
    assert all(torch.equal(a.images, b.images) for a, b in zip(late, rest, strict=True))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    source = Batches(numbered(50), 8, seed=1)
    first = flat(list(source.epoch(0)))
    torch.rand(7)
    list(source.epoch(4))
    assert flat(list(source.epoch(0))) == first
    assert flat(list(source.epoch(1))) != first
    assert flat(list(Batches(numbered(50), 8, seed=2).epoch(0))) != first
    assert flat(list(Batches(numbered(50), 5, seed=1).epoch(0))) == first


def test_without_shuffling_images_come_in_their_own_order() -> None:
    assert flat(list(Batches(numbered(10), 3, seed=0, shuffle=False).epoch(2))) == list(range(10))


def test_positions_are_spread_evenly_over_epochs() -> None:
    source = Batches(numbered(4), 4, seed=0)
    orders = [tuple(flat(list(source.epoch(epoch)))) for epoch in range(480)]
    assert len(set(orders)) == 24
    assert max(orders.count(order) for order in set(orders)) < 45


def test_images_and_labels_stay_together() -> None:
    for batch in Batches(numbered(20), 6, seed=0).epoch(0):
        assert torch.equal(batch.images.flatten(), batch.labels / 1000)


def test_changes_differ_between_epochs_and_batches() -> None:
    picture = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(8, 1, 16, 16).contiguous()
    source = Batches(TensorImages(picture, torch.zeros(8)), 4, seed=0, augment=("crop", "rotate"))
    seen: list[Tensor] = [batch.images for epoch in range(3) for batch in source.epoch(epoch)]
    assert all(not torch.equal(one, other) for one, other in combinations(seen, 2))


def test_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state()
    list(Batches(numbered(9, side=8), 4, seed=0, augment=ALL).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_unlabelled_images_give_batches_without_labels() -> None:
    images: Images = Unlabelled(numbered(4, side=8))
    batch = next(Batches(images, 2, seed=0, augment=("flip",)).epoch(0))
    assert batch.y is None
    assert batch.images.shape == (2, 1, 8, 8)


def test_batches_are_moved_to_the_device_before_they_are_changed() -> None:
    batch = next(Batches(numbered(4, side=8), 2, seed=0, augment=ALL, device=torch.device("meta")).epoch(0))
    assert batch.images.device.type == "meta"
    assert batch.labels.device.type == "meta"


@pytest.mark.parametrize("size", [0, -3])
def test_batches_of_no_images_are_refused(size: int) -> None:
    with pytest.raises(RequestError, match=f"batch size is {size}"):
        Batches(numbered(3), size, seed=0)


def test_a_method_without_data_gets_empty_batches() -> None:
    source = NoData(5)
    assert len(source) == 5
    assert list(source.epoch(0)) == [Batch()] * 5
    assert list(source.epoch(7, start=3)) == [Batch()] * 2
    assert list(source.epoch(7, start=9)) == []


def test_an_epoch_without_batches_is_refused() -> None:
    with pytest.raises(RequestError, match="0 batches"):
        NoData(0)

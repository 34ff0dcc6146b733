from __future__ import annotations

import multiprocessing
import pickle
from itertools import combinations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.data.batches import Batches, NoData, Shard
from rcframe.data.images import Batch, Images, TensorImages, Unlabelled
from rcframe.errors import RequestError, RunFailed

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


@given(st.integers(0, 50), st.integers(1, 6))
def test_shards_are_the_pieces_of_an_even_split(whole: int, count: int) -> None:
    images = torch.arange(whole)
    expected = images.tensor_split(count) if whole >= 2 * count else [images] * count
    for index, piece in enumerate(expected):
        part = Shard(index, count).part(whole)
        assert part.whole == whole
        assert len(part) == len(piece)
        assert part.of(torch.arange(whole)).tolist() == piece.tolist()


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0), (1, 1)])
def test_a_shard_that_does_not_exist_is_refused(index: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"got {index}"):
        Shard(index, count)


@given(
    st.integers(2, 4),
    st.integers(2, 5),
    st.integers(0, 4),
    st.integers(0, 3),
    st.lists(st.sampled_from(ALL), max_size=3),
)
def test_the_shards_of_a_batch_are_together_the_batch_bit_for_bit(
    count: int, each: int, full: int, epoch: int, names: list[str]
) -> None:
    # A size that no number of shards divides, and a rest that is a batch of its own for one and for many processes.
    size, rest = count * each + 1, 2 * count
    images = TensorImages(torch.rand(full * size + rest, 1, 8, 9, generator=torch.Generator().manual_seed(0)))
    images = TensorImages(images.x, torch.arange(len(images)))
    alone = list(Batches(images, size, seed=3, augment=tuple(names)).epoch(epoch))
    shards = [
        list(Batches(images, size, seed=3, augment=tuple(names), shard=Shard(index, count)).epoch(epoch))
        for index in range(count)
    ]
    assert len(alone) == full + 1
    for whole, *parts in zip(alone, *shards, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
        lengths = [len(part.labels) for part in parts]
        assert max(lengths) - min(lengths) <= 1
        # The mean of the labels stands for the mean of any loss.
        means = [part.share * part.labels.double().mean() for part in parts]
        assert float(torch.stack(means).mean()) == pytest.approx(float(whole.labels.double().mean()))


def test_one_process_has_the_whole_batch() -> None:
    assert [batch.share for batch in Batches(numbered(7), 3, seed=0).epoch(0)] == [1.0, 1.0]


def test_shares_weigh_shards_of_different_sizes() -> None:
    shares = [
        [batch.share for batch in Batches(numbered(12), 7, seed=0, shard=Shard(index, 2)).epoch(0)] for index in (0, 1)
    ]
    # Batches of 7, as 4 and 3, and of 5, as 3 and 2.
    assert shares == [[8 / 7, 6 / 5], [6 / 7, 4 / 5]]


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        (20, [[4, 4], [3, 3], [3, 3]]),
        # One image joins the batch before it, whatever the number of processes.
        (21, [[4, 4], [3, 4], [3, 3]]),
        # Too few for three processes: everybody does them all.
        (23, [[4, 4, 3], [3, 3, 3], [3, 3, 3]]),
        (26, [[4, 4, 2], [3, 3, 2], [3, 3, 2]]),
        (5, [[5], [5], [5]]),
    ],
)
def test_a_rest_too_small_to_be_shared_is_done_whole_by_every_process(count: int, lengths: list[list[int]]) -> None:
    parts = [list(Batches(numbered(count), 10, seed=0, shard=Shard(index, 3)).epoch(0)) for index in range(3)]
    assert [[len(batch.labels) for batch in part] for part in parts] == lengths
    for whole, *shards in zip(Batches(numbered(count), 10, seed=0).epoch(0), *parts, strict=True):
        means = [shard.share * shard.labels.double().mean() for shard in shards]
        assert float(torch.stack(means).mean()) == pytest.approx(float(whole.labels.double().mean()))


def test_batches_too_small_for_the_processes_are_refused() -> None:
    with pytest.raises(RequestError, match=r"The batch size is 7, but 4 processes share .* ask for 8 or more"):
        Batches(numbered(50), 7, seed=0, shard=Shard(1, 4))
    Batches(numbered(8), 8, seed=0, shard=Shard(1, 4))


@pytest.mark.parametrize("start", [0, 2, 5, 6])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_bit(workers: int, start: int) -> None:
    images = TensorImages((torch.rand(23, 2, 9, 8) * 255).byte(), torch.arange(23))
    alone, ahead = (
        list(Batches(images, 4, seed=1, augment=ALL, shard=Shard(1, 2), workers=count).epoch(3, start))
        for count in (0, workers)
    )
    assert len(alone) == max(6 - start, 0)
    assert labels(ahead) == labels(alone)
    assert all(torch.equal(one.images, other.images) for one, other in zip(alone, ahead, strict=True))
    assert [batch.share for batch in ahead] == [batch.share for batch in alone]


def test_workers_touch_no_global_generator() -> None:
    before = torch.get_rng_state()
    list(Batches(numbered(9, side=8), 4, seed=0, augment=ALL, workers=2).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_end_with_the_epoch_and_when_it_is_left() -> None:
    source = Batches(numbered(40), 4, seed=0, workers=2)
    list(source.epoch(0))
    assert multiprocessing.active_children() == []
    batches = source.epoch(1)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    del batches
    assert multiprocessing.active_children() == []


def test_batches_of_workers_are_moved_to_the_device_before_they_are_changed() -> None:
    source = Batches(numbered(4, side=8), 2, seed=0, augment=ALL, device=torch.device("meta"), workers=1)
    assert [batch.images.device.type for batch in source.epoch(0)] == ["meta", "meta"]


class Locked(TensorImages):
    """Images that cannot be fetched."""

    def fetch(self, index: Tensor) -> Batch:
        raise RunFailed("The cupboard is locked.")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_images_come_through(workers: int) -> None:
    with pytest.raises(RunFailed, match=r"^The cupboard is locked\.$"):
        list(Batches(Locked(torch.zeros(4, 1, 1, 1)), 2, seed=0, workers=workers).epoch(0))


def test_batches_can_be_sent_to_processes_that_are_not_forked() -> None:
    source = Batches(numbered(9), 4, seed=0, shard=Shard(1, 2), workers=2)
    sent = pickle.loads(pickle.dumps(source))
    assert isinstance(sent, Batches)
    sent.workers = 0
    assert labels(list(sent.epoch(2))) == labels(list(source.epoch(2)))


def test_fewer_workers_than_none_are_refused() -> None:
    with pytest.raises(RequestError, match="-1 data workers"):
        Batches(numbered(3), 2, seed=0, workers=-1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_workers_change_no_bit_on_a_gpu() -> None:
    images = TensorImages(torch.rand(23, 2, 9, 8), torch.arange(23))
    gpu = torch.device("cuda")
    expected = Batches(images, 4, seed=1, augment=ALL).epoch(0, 2)
    alone, ahead = (
        list(Batches(images, 4, seed=1, augment=ALL, device=gpu, workers=workers).epoch(0, 2)) for workers in (0, 2)
    )
    assert labels(ahead) == labels(alone)
    for batch, one, other in zip(expected, alone, ahead, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.allclose(one.images.cpu(), batch.images, atol=1e-5)


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


@pytest.mark.parametrize("workers", [0, 2])
def test_unchanged_images_come_with_their_places_in_the_set(workers: int) -> None:
    images = numbered(11)
    for batch in Batches(images, 4, seed=3, workers=workers).epoch(1):
        assert batch.index is not None
        assert torch.equal(images.fetch(batch.index).images, batch.images)
        assert batch.labels.tolist() == batch.index.tolist()


def test_each_process_gets_the_places_of_its_own_images() -> None:
    images = numbered(11)
    places: list[int] = []
    for index in range(2):
        for batch in Batches(images, 5, seed=3, shard=Shard(index, 2)).epoch(0):
            assert batch.index is not None
            assert batch.labels.tolist() == batch.index.tolist()
            places += batch.index.tolist()
    assert sorted(places) == list(range(11))


def test_augmented_images_are_in_no_set() -> None:
    assert all(batch.index is None for batch in Batches(numbered(11, 8), 4, seed=3, augment=("crop",)).epoch(0))

"""The order in which a stage sees its images: a pure function of seed and epoch, open at any position."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial

import attrs
import torch
from torch import Tensor

from rcframe.data.augment import Part, augment as change
from rcframe.data.images import Batch, Images
from rcframe.data.workers import fetched_ahead
from rcframe.errors import RequestError
from rcframe.seeding import generator

_CPU = torch.device("cpu")
#: A batch holds at least so many images for each process: batch norm cannot normalise one image.
_LEAST = 2


@attrs.frozen
class Shard:
    """What one of several processes that train together sees: its part of every batch, number `index` of `count`."""

    index: int = 0
    count: int = 1

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"expected a shard from 0 to below {self.count}, got {self.index}")

    def part(self, whole: int) -> Part:
        """Return which images of a batch of `whole` are this shard's; sizes differ by at most one, larger first.

        A batch with too few images to be shared is done whole by every process.
        """
        if whole < _LEAST * self.count:
            return Part(0, whole, whole)
        each, more = divmod(whole, self.count)
        begin = self.index * each + min(self.index, more)
        return Part(begin, begin + each + (self.index < more), whole)


class Batches:
    """Batches of `images`: every image once per epoch, in an order fixed by seed and epoch.

    No global random generator is touched, and an epoch can be entered at any batch. With a shard, `size` is that of the
    whole batch, of which this process gets its part. With workers, so many processes fetch ahead, the same bits.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        seed: int,
        augment: tuple[str, ...] = (),
        device: torch.device = _CPU,
        shuffle: bool = True,
        shard: Shard = Shard(),
        workers: int = 0,
    ) -> None:
        if size < 1:
            raise RequestError(f"The batch size is {size}, but a batch holds at least one image: ask for 1 or more.")
        if workers < 0:
            raise RequestError(f"{workers} data workers were asked for: ask for 0 or more.")
        self.images, self.size, self.seed = images, size, seed
        self.augment, self.device, self.shuffle = augment, device, shuffle
        self.shard, self.workers = shard, workers
        self._moves = device.type != "cpu"
        if size < _LEAST * shard.count and shard.count > 1:
            raise RequestError(
                f"The batch size is {size}, but {shard.count} processes share every batch and each needs {_LEAST} "
                f"images or more: ask for {_LEAST * shard.count} or more, or start fewer processes."
            )

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        count, rest = divmod(len(self.images), self.size)
        # The same for any number of processes, so that they see the batches that one would see.
        return count + (rest >= _LEAST or (rest > 0 and count == 0))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from position `start` on."""
        with closing(self._on_cpu(epoch, range(start, len(self)))) as batches:
            for position, batch in enumerate(batches, start):
                # Changed on the device with and without workers, since its rounding may differ from the CPU's.
                yield self._changed(batch.to(self.device), epoch, position) if self._moves else batch

    def _on_cpu(self, epoch: int, positions: range) -> Generator[Batch, None, None]:
        fetch = partial(self._batch, self._order(epoch), epoch)
        if not self.workers:
            return (fetch(position) for position in positions)
        randomness = generator(self.seed, "workers", epoch)
        return fetched_ahead(fetch, positions, self.workers, randomness, pin=self.device.type == "cuda")

    def _order(self, epoch: int) -> Tensor:
        count = len(self.images)
        if not self.shuffle:
            return torch.arange(count)
        return torch.randperm(count, generator=generator(self.seed, "order", epoch))

    def _batch(self, order: Tensor, epoch: int, position: int) -> Batch:
        """Return this shard of the batch at `position`; changed too, if it stays on the CPU."""
        part = self._part(position)
        begin = position * self.size + part.begin
        index = order[begin : begin + len(part)]
        found = self.images.fetch(index)
        share = self.shard.count * len(part) / part.whole if len(part) < part.whole else 1.0
        batch = Batch(found.x, found.y, share, None if self.augment else index)
        return batch if self._moves else self._changed(batch, epoch, position)

    def _part(self, position: int) -> Part:
        begin = position * self.size
        end = len(self.images) if position == len(self) - 1 else begin + self.size
        return self.shard.part(end - begin)

    def _changed(self, batch: Batch, epoch: int, position: int) -> Batch:
        if not self.augment or batch.x is None:
            return batch
        randomness = generator(self.seed, "augment", epoch, position)
        return attrs.evolve(batch, x=change(batch.x, self.augment, randomness, self._part(position)))


class NoData:
    """Batches without images or labels, for methods that read no data."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise RequestError(f"An epoch of {count} batches was asked for: ask for 1 or more.")
        self.count = count

    def __len__(self) -> int:
        return self.count

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the empty batches of `epoch` from position `start` on."""
        for _ in range(start, self.count):
            yield Batch()

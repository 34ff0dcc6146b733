"""The order in which a stage sees its images: a pure function of seed and epoch, open at any position."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rcframe.data.augment import augment as change
from rcframe.data.images import Batch, Images
from rcframe.errors import RequestError
from rcframe.seeding import generator

_CPU = torch.device("cpu")


class Batches:
    """Batches of `images`: every image once per epoch, in an order fixed by seed and epoch.

    No global random generator is touched, and an epoch can be entered at any batch.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        seed: int,
        augment: tuple[str, ...] = (),
        device: torch.device = _CPU,
        shuffle: bool = True,
    ) -> None:
        if size < 1:
            raise RequestError(f"The batch size is {size}, but a batch holds at least one image: ask for 1 or more.")
        self.images, self.size, self.seed = images, size, seed
        self.augment, self.device, self.shuffle = augment, device, shuffle

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        count, rest = divmod(len(self.images), self.size)
        # A single image left over joins the batch before it: batch norm cannot normalise one image.
        return count + (rest > 1 or (rest == 1 and count == 0))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from position `start` on."""
        order, count = self._order(epoch), len(self)
        for position in range(start, count):
            begin = position * self.size
            end = len(order) if position == count - 1 else begin + self.size
            yield self._batch(order[begin:end], epoch, position)

    def _order(self, epoch: int) -> Tensor:
        count = len(self.images)
        if not self.shuffle:
            return torch.arange(count)
        return torch.randperm(count, generator=generator(self.seed, "order", epoch))

    def _batch(self, index: Tensor, epoch: int, position: int) -> Batch:
        batch = self.images.fetch(index)
        if self.device != _CPU:
            batch = _moved(batch, self.device)
        if self.augment and batch.x is not None:
            randomness = generator(self.seed, "augment", epoch, position)
            batch = Batch(change(batch.x, self.augment, randomness), batch.y)
        return batch


def _moved(batch: Batch, device: torch.device) -> Batch:
    x = None if batch.x is None else batch.x.to(device, non_blocking=True)
    y = None if batch.y is None else batch.y.to(device, non_blocking=True)
    return Batch(x, y)


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

"""Images as the kernel sees them: indexed sets that hand out batches of pixels in [0, 1]."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from rcframe.data.digests import LastingDigest, combined, tensor_digest
from rcframe.errors import RequestError
from rcframe.options import Number

#: Images fetched at a time for a fingerprint.
_FETCHED = 256


@attrs.frozen
class Batch:
    """Images `x` (B, C, H, W) in [0, 1] and labels `y` (B,); a method that may not see them gets None."""

    x: Tensor | None = None
    y: Tensor | None = None
    #: When several processes share a batch: their number times the share of the images that is here. The mean over the
    #: processes of `share` times the mean loss of the images here is then the mean loss of the whole batch.
    share: float = 1.0
    #: Where in their set these images are (B,), while they are as they are there; None once something changed them.
    #: Added in API 1.4.
    index: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The images, for a method that declared it reads them."""
        assert self.x is not None, "this method declared `data = Data.NONE`, so its batches carry no images"
        return self.x

    @property
    def labels(self) -> Tensor:
        """The labels, for a method that declared it reads them."""
        assert self.y is not None, "this method did not declare `data = Data.LABELLED`, so its batches carry no labels"
        return self.y

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        x = None if self.x is None else self.x.to(device, non_blocking=True)
        y = None if self.y is None else self.y.to(device, non_blocking=True)
        index = None if self.index is None else self.index.to(device, non_blocking=True)
        return attrs.evolve(self, x=x, y=y, index=index)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a copy to a GPU runs beside other work."""
        x = None if self.x is None else self.x.pin_memory()
        y = None if self.y is None else self.y.pin_memory()
        index = None if self.index is None else self.index.pin_memory()
        return attrs.evolve(self, x=x, y=y, index=index)


@attrs.frozen
class DataInfo:
    """What a network must know about a data set."""

    name: str
    #: Channels, height, width.
    shape: tuple[int, int, int]
    #: One name per class, in label order.
    classes: tuple[str, ...]
    #: Per-channel mean and standard deviation of the training pixels in [0, 1].
    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: The customary linf radius in pixels, used when a run names none.
    eps: Number = attrs.field(factory=lambda: Number("8/255"))


class Images(ABC):
    """One split of a data set."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the images."""

    @abstractmethod
    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,) as float32 in [0, 1], with labels if there are any."""

    @property
    @abstractmethod
    def labels(self) -> Tensor | None:
        """All labels (N,), int64, or None for an unlabelled set."""

    def subset(self, index: Tensor) -> Images:
        """Return the images at `index` as a set of their own."""
        return Subset(self, index)

    def first(self, count: int) -> Batch:
        """Return the first `count` images, or all if there are fewer."""
        return self.fetch(torch.arange(min(count, len(self))))

    def fingerprint(self) -> str:
        """Return a hash of the content, the same in every process; stages found in the cache are told apart by it.

        This one fetches every image: override it for a set that is large or slow to read.
        """
        digests: list[str | None] = []
        for start in range(0, len(self), _FETCHED):
            batch = self.fetch(torch.arange(start, min(start + _FETCHED, len(self))))
            digests += [None if part is None else tensor_digest(part) for part in (batch.x, batch.y)]
        return combined("images", len(self), *digests)


class TensorImages(Images):
    """Images held in memory: `x` (N, C, H, W), uint8 in 0..255 or float in [0, 1]; `y` (N,) or None."""

    def __init__(self, x: Tensor, y: Tensor | None = None) -> None:
        if x.dim() != 4 or (y is not None and y.shape != x.shape[:1]):
            raise ValueError(f"expected images (N, C, H, W) and labels (N,), got {tuple(x.shape)} and {y}")
        self.x = x
        self._y = None if y is None else y.long()
        self._pixels, self._labels = LastingDigest(), LastingDigest()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> Tensor | None:
        """All labels (N,), or None."""
        return self._y

    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,)."""
        # On a CPU, indexing with brackets takes three times as long.
        x = self.x.index_select(0, index)
        x = x.div(255) if x.dtype == torch.uint8 else x.float()
        return Batch(x, None if self._y is None else self._y.index_select(0, index))

    def fingerprint(self) -> str:
        """Return a hash of pixels and labels."""
        # What a subclass makes of the pixels when they are fetched is content too.
        if type(self).fetch is not TensorImages.fetch:
            return super().fingerprint()
        labels = None if self._y is None else self._labels.of(self._y)
        return combined("tensors", self._pixels.of(self.x), labels)


class Subset(Images):
    """Some images of another set, in the given order."""

    def __init__(self, images: Images, index: Tensor) -> None:
        self._images, self._index = images, index

    def __len__(self) -> int:
        return len(self._index)

    @property
    def labels(self) -> Tensor | None:
        """All labels (N,), or None."""
        labels = self._images.labels
        return None if labels is None else labels[self._index]

    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,)."""
        return self._images.fetch(self._index[index])

    def fingerprint(self) -> str:
        """Return a hash of the other set and of which of its images these are."""
        return combined("subset", self._images.fingerprint(), tensor_digest(self._index.long()))


class Concatenated(Images):
    """Several unlabelled sets, one after the other."""

    def __init__(self, sets: Sequence[Images]) -> None:
        self._sets = tuple(sets)
        self._starts = torch.tensor([0, *itertools.accumulate(map(len, self._sets))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def labels(self) -> None:
        """All labels (N,), or None."""
        return None

    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,)."""
        which = torch.bucketize(index, self._starts[1:], right=True)
        x: Tensor | None = None
        for number, images in enumerate(self._sets):
            places = torch.nonzero(which == number).flatten()
            if len(places):
                part = images.fetch(index[places] - self._starts[number]).images
                x = part.new_empty(len(index), *part.shape[1:]) if x is None else x
                x[places] = part
        return Batch(self._sets[0].fetch(index).x if x is None else x)

    def fingerprint(self) -> str:
        """Return a hash of all sets, in their order."""
        return combined("concatenated", *(images.fingerprint() for images in self._sets))


class Unlabelled(Images):
    """Another set without its labels: they cannot be read through this view."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @property
    def labels(self) -> None:
        """All labels (N,), or None."""
        return None

    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,)."""
        return Batch(self._images.fetch(index).x)

    def fingerprint(self) -> str:
        """Return a hash of the other set, and that its labels are hidden."""
        return combined("unlabelled", self._images.fingerprint())


@attrs.frozen
class Dataset:
    """A loaded data set. `extra` holds further images whose labels are never used for training."""

    info: DataInfo
    train: Images
    test: Images
    extra: Images | None = None
    validation: Images | None = None
    augment: tuple[str, ...] = ()


def check_pixels(x: Tensor, what: str) -> None:
    """Refuse images outside [0, 1] with a sentence that says how to mend it."""
    if not x.is_floating_point():
        raise RequestError(f"{what} are {x.dtype}, but pixels must be floats in [0, 1]: use x.float() / 255.")
    if len(x) == 0:
        return
    low, high = float(x.min()), float(x.max())
    if math.isnan(low):
        raise RequestError(f"{what} hold values that are no numbers (NaN): mend the data, or leave those images out.")
    if not (low >= 0.0 and high <= 1.0):
        fix = "divide them by 255" if high > 2 and low >= 0 else "move the normalisation into the model (Normalized)"
        raise RequestError(f"{what} lie in [{low:.3g}, {high:.3g}], but pixels must lie in [0, 1]: {fix}.")

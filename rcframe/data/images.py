"""Images as the kernel sees them: indexed sets that hand out batches of pixels in [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs
import torch
from torch import Tensor

from rcframe.errors import RequestError
from rcframe.options import Number


@attrs.frozen
class Batch:
    """Images `x` (B, C, H, W) in [0, 1] and labels `y` (B,); a method that may not see them gets None."""

    x: Tensor | None = None
    y: Tensor | None = None

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


class TensorImages(Images):
    """Images held in memory: `x` (N, C, H, W), uint8 in 0..255 or float in [0, 1]; `y` (N,) or None."""

    def __init__(self, x: Tensor, y: Tensor | None = None) -> None:
        if x.dim() != 4 or (y is not None and y.shape != x.shape[:1]):
            raise ValueError(f"expected images (N, C, H, W) and labels (N,), got {tuple(x.shape)} and {y}")
        self.x = x
        self._y = None if y is None else y.long()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> Tensor | None:
        """All labels (N,), or None."""
        return self._y

    def fetch(self, index: Tensor) -> Batch:
        """Return the images at `index` (B,)."""
        x = self.x[index]
        x = x.float().div_(255) if x.dtype == torch.uint8 else x.float()
        return Batch(x, None if self._y is None else self._y[index])


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
    if not (low >= 0.0 and high <= 1.0):
        fix = "divide them by 255" if high > 2 and low >= 0 else "move the normalisation into the model (Normalized)"
        raise RequestError(f"{what} lie in [{low:.3g}, {high:.3g}], but pixels must lie in [0, 1]: {fix}.")

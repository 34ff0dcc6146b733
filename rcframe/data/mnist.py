"""MNIST and Fashion-MNIST: 28x28 grey images of handwritten digits and of clothes."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from rcframe.data.files import Layout, check_labels, damaged
from rcframe.data.idx import read_idx
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.vision import PublishedSource
from rcframe.options import Number, component

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SHAPE = (1, 28, 28)


@component
class IdxSource(PublishedSource):
    """Four idx files, plain or gzipped, in the folder where torchvision puts them."""

    folder: ClassVar[str]

    @property
    @abstractmethod
    def info(self) -> DataInfo:
        """What a network must know about the data set."""

    def layouts(self) -> tuple[Layout, ...]:
        """List the one layout: four files, each plain or gzipped."""
        return (Layout(self.folder, _TRAIN + _TEST, suffixes=("", ".gz")),)

    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the data set, held in memory."""
        train, test = (self._split(*(layout.path(root, name) for name in names)) for names in (_TRAIN, _TEST))
        return Dataset(self.info, train, test)

    def _split(self, images: Path, labels: Path) -> TensorImages:
        x, y = read_idx(images, dimensions=3), read_idx(labels, dimensions=1)
        if x.shape[1:] != _SHAPE[1:]:
            raise damaged(images, f"its images are {x.shape[1]}x{x.shape[2]}, expected {_SHAPE[1]}x{_SHAPE[2]}")
        if len(x) != len(y):
            raise damaged(labels, f"it holds {len(y)} labels for the {len(x)} images of `{images.name}`")
        check_labels(labels, y, len(self.info.classes))
        return TensorImages(x.unsqueeze(1), y)


@component
class Mnist(IdxSource):
    """MNIST: 60,000 handwritten digits to train on and 10,000 to test on."""

    name: ClassVar[str] = "mnist"
    folder: ClassVar[str] = "MNIST/raw"

    @property
    def info(self) -> DataInfo:
        """The digits, with the radius that is customary for them."""
        return DataInfo(self.name, _SHAPE, tuple("0123456789"), mean=(0.1307,), std=(0.3081,), eps=Number("0.3"))

    def fetch(self, root: Path) -> None:
        """Download and unpack the four files."""
        from torchvision.datasets import MNIST

        MNIST(root, download=True)


@component
class FashionMnist(IdxSource):
    """Fashion-MNIST: 60,000 pieces of clothing to train on and 10,000 to test on."""

    name: ClassVar[str] = "fashion-mnist"
    folder: ClassVar[str] = "FashionMNIST/raw"

    @property
    def info(self) -> DataInfo:
        """The clothes, with the radius that is customary for them."""
        return DataInfo(self.name, _SHAPE, _CLOTHES, mean=(0.2860,), std=(0.3530,), eps=Number("0.1"))

    def fetch(self, root: Path) -> None:
        """Download and unpack the four files."""
        from torchvision.datasets import FashionMNIST

        FashionMNIST(root, download=True)


_CLOTHES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

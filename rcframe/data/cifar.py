"""CIFAR-10 and CIFAR-100: 32x32 colour photographs in 10 and in 100 classes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import attrs
import torch

from rcframe.data.archives import fetch_archive
from rcframe.data.cifar_files import SHAPE, read_binary, read_pickled
from rcframe.data.files import Layout, check_labels, damaged
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.vision import PublishedSource
from rcframe.options import component, option

_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.247, 0.243, 0.261)
_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@component
class CifarSource(PublishedSource):
    """One of the CIFAR data sets, in its binary or its Python version."""

    binary: ClassVar[Layout]
    pickled: ClassVar[Layout]
    #: Bytes before each image of the binary version; the last one is the label.
    label_bytes: ClassVar[int]
    #: Where a pickled batch keeps the label.
    label_key: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]

    def layouts(self) -> tuple[Layout, ...]:
        """List the binary and the Python version."""
        return self.binary, self.pickled

    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the data set, held in memory."""
        info = DataInfo(self.name, SHAPE, self.classes, _MEAN, _STD)
        return Dataset(info, self.train_images(root, layout), self._images(root, layout, layout.names[-1:]))

    def train_images(self, root: Path, layout: Layout) -> TensorImages:
        """Return the training images; the last file of a layout is the test set, those before it are these."""
        return self._images(root, layout, layout.names[:-1])

    def _images(self, root: Path, layout: Layout, names: tuple[str, ...]) -> TensorImages:
        parts = [self._part(layout.path(root, name), layout) for name in names]
        expected = max(len(part) for part in parts)
        for name, part in zip(names, parts, strict=True):
            # Whole records can be lost too, and then only the other files of the split give it away.
            if len(part) < expected:
                raise damaged(
                    layout.path(root, name),
                    f"it holds {len(part)} images, expected {expected} as in the other training files",
                )
        return TensorImages(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))

    def _part(self, path: Path, layout: Layout) -> _Part:
        if layout is self.binary:
            part = _Part(*read_binary(path, self.label_bytes))
        else:
            part = _Part(*read_pickled(path, self.label_key))
        check_labels(path, part.y, len(self.classes))
        return part


@attrs.frozen
class _Part:
    """Images (N, 3, 32, 32) and labels (N,) of one file."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)


@component
class Cifar100(CifarSource):
    """CIFAR-100: 50,000 photographs to train on and 10,000 to test on, in 100 fine classes."""

    name: ClassVar[str] = "cifar100"
    binary: ClassVar[Layout] = Layout("cifar-100-binary", ("train.bin", "test.bin"))
    pickled: ClassVar[Layout] = Layout("cifar-100-python", ("train", "test"))
    label_bytes: ClassVar[int] = 2
    label_key: ClassVar[str] = "fine_labels"
    classes: ClassVar[tuple[str, ...]] = tuple(_CIFAR100_CLASSES.split())

    def fetch(self, root: Path) -> None:
        """Download and unpack the Python version."""
        from torchvision.datasets import CIFAR100

        fetch_archive(CIFAR100.url, CIFAR100.tgz_md5, root)


@component
class Cifar10(CifarSource):
    """CIFAR-10: 50,000 photographs to train on and 10,000 to test on, in 10 classes."""

    extra: Literal["none", "cifar100"] = option(
        default="none", help="Further images without labels: none, or the training images of CIFAR-100."
    )

    name: ClassVar[str] = "cifar10"
    binary: ClassVar[Layout] = Layout(
        "cifar-10-batches-bin", (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
    )
    pickled: ClassVar[Layout] = Layout(
        "cifar-10-batches-py", (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    )
    label_bytes: ClassVar[int] = 1
    label_key: ClassVar[str] = "labels"
    classes: ClassVar[tuple[str, ...]] = tuple(_CIFAR10_CLASSES.split())

    def fetch(self, root: Path) -> None:
        """Download and unpack the Python version."""
        from torchvision.datasets import CIFAR10

        fetch_archive(CIFAR10.url, CIFAR10.tgz_md5, root)

    def lacking(self, root: Path) -> str | None:
        """Say which files are absent, those of the extra images too."""
        own = super().lacking(root)
        return own if own or self.extra == "none" else self._others().lacking(root)

    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the data set, held in memory, with the extra images if asked."""
        dataset = super().read(root, layout)
        if self.extra == "none":
            return dataset
        others = self._others()
        # Their labels name other classes, so they are dropped here and not merely hidden.
        unlabelled = TensorImages(others.train_images(root, others.located(root)).x)
        return attrs.evolve(dataset, extra=unlabelled)

    def _others(self) -> Cifar100:
        return Cifar100(download=self.download)

"""Tiny-ImageNet: 64x64 colour photographs in 200 classes of ImageNet."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from rcframe.data.archives import fetch_archive
from rcframe.data.file_images import FileImages, check_headers, image_files
from rcframe.data.files import Layout, damaged
from rcframe.data.images import DataInfo, Dataset
from rcframe.data.vision import PublishedSource
from rcframe.errors import RequestError
from rcframe.options import component

_FOLDER = "tiny-imagenet-200"
_CLASSES, _TRAIN, _ANNOTATIONS, _TEST = "wnids.txt", "train", "val/val_annotations.txt", "val/images"
_SIDE = 64
_ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_ARCHIVE_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


@component
class TinyImageNet(PublishedSource):
    """Tiny-ImageNet: 100,000 photographs to train on; its 10,000 validation images are the test split.

    The published test images have no labels. Classes are numbered in the alphabetical order of their identifiers.
    """

    name: ClassVar[str] = "tiny-imagenet"

    def layouts(self) -> tuple[Layout, ...]:
        """List the one layout: the unpacked archive."""
        return (Layout(_FOLDER, (_CLASSES, _TRAIN, _ANNOTATIONS, _TEST)),)

    def fetch(self, root: Path) -> None:
        """Download and unpack the archive."""
        fetch_archive(_ARCHIVE, _ARCHIVE_MD5, root)

    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the data set; images stay in their files."""
        listing = layout.path(root, _CLASSES)
        classes = tuple(sorted(listing.read_text(encoding="utf-8").split()))
        if len(classes) < 2:
            raise damaged(listing, f"it lists {len(classes)} classes")
        info = DataInfo(
            self.name, (3, _SIDE, _SIDE), classes, mean=(0.4802, 0.4481, 0.3975), std=(0.2302, 0.2265, 0.2262)
        )
        train = _train(layout.path(root, _TRAIN), classes)
        return Dataset(info, train, _test(layout.path(root, _ANNOTATIONS), layout.path(root, _TEST), classes))


def _train(folder: Path, classes: tuple[str, ...]) -> FileImages:
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = image_files(folder / name)
        if not found:
            raise RequestError(
                f"`{folder / name}` holds no images, but `{_CLASSES}` lists the class `{name}`: "
                "unpack the archive again."
            )
        files += found
        labels += [label] * len(found)
    check_headers(files)
    return FileImages(files, torch.tensor(labels), _SIDE)


def _test(annotations: Path, folder: Path, classes: tuple[str, ...]) -> FileImages:
    numbers = {name: label for label, name in enumerate(classes)}
    files: list[str] = []
    labels: list[int] = []
    for count, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), start=1):
        file, _, rest = line.partition("\t")
        name = rest.split("\t")[0]
        if name not in numbers:
            raise damaged(annotations, f"line {count} names the class `{name}`, which `{_CLASSES}` does not list")
        if not (folder / file).is_file():
            raise damaged(annotations, f"line {count} names the image `{file}`, which is not in `{folder}`")
        files.append(str(folder / file))
        labels.append(numbers[name])
    if not files:
        raise damaged(annotations, "it lists no images")
    check_headers(files)
    return FileImages(files, torch.tensor(labels), _SIDE)

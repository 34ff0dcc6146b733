"""Any folder of images with one subfolder for each class."""

from __future__ import annotations

from pathlib import Path

import torch

from rcframe.api import DataSource
from rcframe.data.file_images import FileImages, check_headers, image_files
from rcframe.data.images import DataInfo, Dataset
from rcframe.data.pixels import channel_statistics
from rcframe.errors import RequestError, listed, nearest
from rcframe.options import at_least, component, option

_TRAIN = "train"
#: The folder of test images, the preferred first: ImageNet's own `test` has no class folders.
_TEST = ("val", "test")
#: So many training images are decoded for mean and standard deviation.
_MEASURED = 512


@component
class Folder(DataSource):
    """Images in PATH/train/CLASS and PATH/val/CLASS (or PATH/test/CLASS), decoded when a batch asks for them."""

    path: str = option(default="", help="The folder that holds `train` and `val` or `test`.", positional=True)
    size: int = option(
        default=32, help="Side of the images: the middle square of each file is scaled to it.", check=at_least(1)
    )

    def load(self, root: Path) -> Dataset:
        """Return the images of the folder; a relative path is looked up here first, then below `root`."""
        folder = self._located(root)
        classes = _class_names(folder / _TRAIN)
        train = _images(folder / _TRAIN, classes, self.size)
        test = _images(_test_folder(folder), classes, self.size)
        spread = torch.linspace(0, len(train) - 1, min(_MEASURED, len(train))).long()
        mean, std = channel_statistics(train.fetch(spread).images)
        return Dataset(DataInfo(folder.name, (3, self.size, self.size), classes, mean, std), train, test)

    def lacking(self, root: Path) -> str | None:
        """Say what of the folder is absent."""
        try:
            _test_folder(self._located(root))
        except RequestError as error:
            return str(error)
        return None

    def _located(self, root: Path) -> Path:
        if not self.path:
            raise RequestError("`folder` needs the folder of the images: write `folder:PATH`.")
        asked = Path(self.path).expanduser()
        candidates = [asked] if asked.is_absolute() else [asked, root / asked]
        for candidate in candidates:
            if (candidate / _TRAIN).is_dir():
                return candidate.resolve()
        raise RequestError(
            f"There is no `{_TRAIN}` folder in {listed(f'`{candidate}`' for candidate in candidates)}: `folder` "
            f"expects images in PATH/train/CLASS and PATH/val/CLASS (or PATH/test/CLASS)."
        )


def _test_folder(folder: Path) -> Path:
    for name in _TEST:
        if (folder / name).is_dir():
            return folder / name
    raise RequestError(f"`{folder}` has no `val` or `test` folder: put the images to test on there, in class folders.")


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in _subfolders(folder)))
    if len(names) < 2:
        raise RequestError(
            f"`{folder}` has {len(names)} class folders ({listed(names)}), but a classifier needs two or more: "
            f"put the images of each class into a folder of its own."
        )
    return names


def _subfolders(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]


def _images(folder: Path, classes: tuple[str, ...], size: int) -> FileImages:
    """Read a split, of which every class folder must be a known class with images in it."""
    files: list[str] = []
    labels: list[int] = []
    for entry in _subfolders(folder):
        if entry.name not in classes:
            raise RequestError(
                f"`{entry}` is no class of the training images.{nearest(entry.name, classes)} "
                f"Classes: {listed(classes)}."
            )
        found = image_files(entry)
        if not found:
            raise RequestError(f"The class folder `{entry}` holds no images: add some, or remove it.")
        files += found
        labels += [classes.index(entry.name)] * len(found)
    if not files:
        raise RequestError(f"`{folder}` has no class folders: put images into `{folder}/CLASS`.")
    check_headers(files)
    return FileImages(files, torch.tensor(labels), size)

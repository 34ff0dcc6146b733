"""Street View House Numbers: 32x32 colour photographs of digits, with neighbouring digits on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rcframe.data.files import Layout, check_labels, damaged
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.vision import PublishedSource
from rcframe.options import component, option

_TRAIN, _TEST, _EXTRA = "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"
_FOLDERS = ("svhn", "SVHN", "")

#: The columns that the option `crop` keeps. Published work crops to 17 columns without saying which; these lie around
#: the middle column 16, where the labelled digit is.
CROP_COLUMNS = range(8, 25)


@component
class Svhn(PublishedSource):
    """SVHN: 73,257 cropped house-number digits to train on, 26,032 to test on and 531,131 easier ones as extra."""

    extra: bool = option(default=False, help="Load the 531,131 further images as the extra split.")
    crop: bool = option(default=False, help="Keep columns 8 to 24 only, which cuts the neighbouring digits off.")

    name: ClassVar[str] = "svhn"

    def layouts(self) -> tuple[Layout, ...]:
        """List the folders in which the files may lie."""
        names = (_TRAIN, _TEST, _EXTRA) if self.extra else (_TRAIN, _TEST)
        return tuple(Layout(folder, names) for folder in _FOLDERS)

    def fetch(self, root: Path) -> None:
        """Download the splits in use."""
        from torchvision.datasets import SVHN

        for split in ("train", "test", "extra") if self.extra else ("train", "test"):
            SVHN(root / _FOLDERS[0], split=split, download=True)

    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the splits in use, cropped if asked."""
        info = DataInfo(
            self.name,
            (3, 32, len(CROP_COLUMNS) if self.crop else 32),
            tuple("0123456789"),
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
        )
        train, test, *extra = (self._split(layout.path(root, name)) for name in layout.names)
        return Dataset(info, train, test, extra[0] if extra else None)

    def _split(self, path: Path) -> TensorImages:
        x, y = read_mat(path)
        return TensorImages(x[..., CROP_COLUMNS.start : CROP_COLUMNS.stop].contiguous() if self.crop else x, y)


def read_mat(path: Path) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 3, 32, 32) and labels (N,); the file writes the digit 0 as 10."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
        pixels, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    # A damaged file fails in whatever its broken parts trip over, so every failure means the same.
    except Exception as error:
        raise damaged(path, f"it is not a readable MATLAB file with `X` and `y` ({type(error).__name__})") from error
    if pixels.dtype != np.uint8 or pixels.shape[:3] != (32, 32, 3) or pixels.ndim != 4:
        raise damaged(path, f"its `X` are {pixels.dtype} {pixels.shape}, expected uint8 (32, 32, 3, images)")
    if len(labels) != pixels.shape[3] or len(labels) == 0:
        raise damaged(path, f"it holds {len(labels)} labels for {pixels.shape[3]} images")
    y = torch.from_numpy(labels.astype(np.int64))
    y[y == 10] = 0
    check_labels(path, y, classes=10)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))), y

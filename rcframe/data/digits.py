"""Handwritten digits that come inside scikit-learn: real data without any download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

from rcframe.api import DataSource
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.pixels import channel_statistics
from rcframe.options import Number, between, component, option

if TYPE_CHECKING:
    from torch import Tensor

_SIDE = 8
_LEVELS = 16.0
_TEST_IMAGES = 450


@component
class Digits(DataSource):
    """The 1797 grey digits of scikit-learn: 1347 to train on and 450 to test on, the same for every seed."""

    size: int = option(default=_SIDE, help="Side of the images; above 8 they are upscaled.", check=between(_SIDE, 64))

    def load(self, root: Path) -> Dataset:
        """Return the digits; nothing is read below `root`."""
        x, y = _pixels_and_labels()
        if self.size != _SIDE:
            x = interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        train, test = _split(y)
        mean, std = channel_statistics(x[train])
        info = DataInfo(
            name="digits",
            shape=(1, self.size, self.size),
            classes=tuple("0123456789"),
            mean=mean,
            std=std,
            eps=Number("0.1"),
        )
        return Dataset(info, TensorImages(x[train], y[train]), TensorImages(x[test], y[test]))


def _pixels_and_labels() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).float().div_(_LEVELS).view(-1, 1, _SIDE, _SIDE)
    return x, torch.from_numpy(labels).long()


def _split(y: Tensor) -> tuple[Tensor, Tensor]:
    from sklearn.model_selection import train_test_split

    # A published split must not depend on a run's seed, or the numbers of two runs could not be compared.
    train, test = train_test_split(range(len(y)), test_size=_TEST_IMAGES, random_state=0, stratify=y.numpy())
    return torch.tensor(train), torch.tensor(test)

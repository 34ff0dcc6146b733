"""Each check catches its fault: sound data and models pass, and each broken one fails where it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from rcframe.api import Component, DataSource, Model
from rcframe.data.images import DataInfo, Dataset, Images, TensorImages
from rcframe.errors import RequestError
from rcframe.options import component
from rcframe.testing.toys import CLASSES, toy_dataset

Broken = Callable[[type[Component]], set[str]]


@component
class Spots(DataSource):
    """The toy data, with pixels or labels changed."""

    def load(self, root: Path) -> Dataset:
        toy = toy_dataset()
        return Dataset(toy.info, self.changed(toy.train), self.changed(toy.test))

    def changed(self, images: Images) -> Images:
        batch = images.first(64)
        return TensorImages(self.pixels(batch.images), self.labels(batch.labels))

    def pixels(self, x: Tensor) -> Tensor:
        return x

    def labels(self, y: Tensor) -> Tensor:
        return y


@component
class Bytes(Spots):
    """Hands out pixels from 0 to 255."""

    def pixels(self, x: Tensor) -> Tensor:
        return x * 255


@component
class Narrow(Spots):
    """Hands out images of another size than it announces."""

    def pixels(self, x: Tensor) -> Tensor:
        return x[..., :6]


@component
class ExtraClass(Spots):
    """Has a label without a name."""

    def labels(self, y: Tensor) -> Tensor:
        return y + 1


@component
class Unrepeatable(Spots):
    """Draws other noise at every load."""

    own: ClassVar[torch.Generator] = torch.Generator()

    def pixels(self, x: Tensor) -> Tensor:
        return (x + 0.01 * torch.rand(x.shape, generator=self.own)).clamp(0, 1)


@component
class NeedsFiles(Spots):
    """Cannot be checked without its files."""

    def load(self, root: Path) -> Dataset:
        assert list(root.iterdir()) == []
        raise RequestError("The files belong elsewhere.")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Spots, set()),
        (NeedsFiles, set()),
        (Bytes, {"data_is_sound", "data_repeats"}),
        (Narrow, {"data_is_sound", "data_repeats"}),
        (ExtraClass, {"data_is_sound", "data_repeats"}),
        (Unrepeatable, {"data_repeats"}),
    ],
)
def test_data_is_caught(data: type[DataSource], expected: set[str], broken_promises: Broken) -> None:
    assert broken_promises(data) == expected


class Net(nn.Sequential):
    """A linear network that can name taps."""

    def __init__(self, classes: int, taps: tuple[str, ...] = ("0", "1")) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, classes))
        self.taps = taps
        self.spare = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self[1](self[0](x))
        return logits


@component
class Linear(Model):
    """One linear layer."""

    def build(self, info: DataInfo) -> nn.Module:
        return Net(len(info.classes))


@component
class Unseeded(Model):
    """Draws its weights from a generator of its own."""

    own: ClassVar[torch.Generator] = torch.Generator()

    def build(self, info: DataInfo) -> nn.Module:
        network = Net(len(info.classes))
        nn.init.normal_(network.get_parameter("1.weight"), generator=self.own)
        return network


@component
class ForgetsClasses(Model):
    """Always has one output too many."""

    def build(self, info: DataInfo) -> nn.Module:
        return Net(CLASSES + 1)


@component
class UnknownTap(Model):
    """Names a tap that is no layer."""

    def build(self, info: DataInfo) -> nn.Module:
        return Net(len(info.classes), ("0", "relu"))


@component
class IdleTap(Model):
    """Names a tap that is a layer but never runs."""

    def build(self, info: DataInfo) -> nn.Module:
        return Net(len(info.classes), ("0", "spare"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Linear, set()),
        (Unseeded, {"model_builds"}),
        (ForgetsClasses, {"model_builds"}),
        (UnknownTap, {"model_taps_exist"}),
        (IdleTap, {"model_taps_exist"}),
    ],
)
def test_models_are_caught(model: type[Model], expected: set[str], broken_promises: Broken) -> None:
    assert broken_promises(model) == expected

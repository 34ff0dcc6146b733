"""Promises of data sources and models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

import torch

from rcframe.api import DataSource, Model
from rcframe.data.images import Dataset
from rcframe.data.prepare import prepare
from rcframe.errors import RequestError
from rcframe.models.check import check_outputs
from rcframe.networks.taps import tap_shapes, taps_of
from rcframe.testing.subject import Subject
from rcframe.testing.toys import toy_dataset
from rcframe.training.randomness import seeded


def _load(subject: Subject) -> Dataset | None:
    """Load a data set from an empty root; None if it asks for files, which a check cannot bring."""
    source = cast(DataSource, subject.make())
    with tempfile.TemporaryDirectory() as root:
        try:
            source.load(Path(root))
        except RequestError:
            return None
        # What is loaded but unsound is refused here.
        return prepare(source, Path(root), seed=0)


def check_data_is_sound(subject: Subject) -> None:
    """Images are floats in [0, 1] of the announced shape; labels are known classes."""
    dataset = _load(subject)
    if dataset is None:
        return
    for images in (dataset.train, dataset.test):
        batch = images.first(32)
        assert batch.images.shape[1:] == dataset.info.shape, "images do not have the announced shape"
        assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1, "pixels must lie in [0, 1]"
        assert int(batch.labels.max()) < len(dataset.info.classes), "a label has no class"


def check_data_repeats(subject: Subject) -> None:
    """Loading twice gives the same images in the same order."""
    first, second = _load(subject), _load(subject)
    if first is not None and second is not None:
        assert torch.equal(first.train.first(32).images, second.train.first(32).images), "two loads differ"


def check_model_builds(subject: Subject) -> None:
    """The network maps images in [0, 1] to one logit per class, from equal weights for equal seeds."""
    info, builder = toy_dataset().info, cast(Model, subject.make())
    weights = []
    for _ in range(2):
        with seeded(0, "model"):
            network = builder.build(info)
        check_outputs(network, info)
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(*weights), "two builds with one seed differ: draw from torch's generator"


def check_model_taps_exist(subject: Subject) -> None:
    """Every tap the network names is a layer that runs."""
    info, builder = toy_dataset().info, cast(Model, subject.make())
    network = builder.build(info)
    shapes = tap_shapes(network, taps_of(network), torch.zeros(2, *info.shape))
    assert set(shapes) == set(taps_of(network)), "a tap does not run"

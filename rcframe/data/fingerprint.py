"""What of a data set a result depends on, as one hash: equal hashes, equal content."""

from __future__ import annotations

from rcframe.data.digests import combined
from rcframe.data.images import Dataset, Images


def training_fingerprint(dataset: Dataset) -> str:
    """Return a hash of everything that training may depend on; test images, name and customary radius are not."""
    info = dataset.info
    return combined(
        "training",
        _optional(dataset.train),
        _optional(dataset.validation),
        _optional(dataset.extra),
        combined(*dataset.augment),
        combined(*map(int, info.shape)),
        combined(*info.classes),
        combined(*map(float, info.mean)),
        combined(*map(float, info.std)),
    )


def test_fingerprint(dataset: Dataset) -> str:
    """Return a hash of what measured numbers depend on: the test images and the names of the classes."""
    return combined("test", dataset.test.fingerprint(), combined(*dataset.info.classes))


def _optional(images: Images | None) -> str | None:
    return None if images is None else images.fingerprint()
